// behaviour.h - the parts of behaviour.c.

#ifndef BEHAVIOUR_H
#define BEHAVIOUR_H

void behaviour_of_runs(void);
void behaviour_of_superpoints(void);
void behaviour_of_lifetimes(void);
void behaviour_of_modes(void);
void behaviour_of_the_log(void);
// Prints the worst of several latencies.
void behaviour_of_cancel(void);
// Prints how long the longest of many frees in flight took.
void behaviour_of_frees(void);
// Prints by how much the resident set grows over many rounds.
void behaviour_of_memory(void);

#endif
