// misuse.h - the parts of misuse.c, by noun.

#ifndef MISUSE_H
#define MISUSE_H

void misuse_of_handles(void);
void misuse_of_structs(void);
void misuse_of_clouds(void);
void misuse_of_requests(void);
void misuse_of_sessions(void);
void misuse_of_vocabularies(void);
void misuse_of_files(void);
void misuse_of_superpoints(void);

#endif
