// faults.h - the parts of faults.c.

#ifndef FAULTS_H
#define FAULTS_H

// Makes every function of the file `exports`, one name a line, panic once.
void panic_everywhere(const char *exports);

#endif
