// Package budget guards what a message costs each program: system calls, allocations and,
// where the machine counts them, instructions in user mode. Counts, not seconds, so that
// it holds on a machine that is busy with other things. The budget is the file
// budget.txt; whoever makes a program cheaper lowers it there.
package budget
