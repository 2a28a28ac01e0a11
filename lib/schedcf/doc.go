// Package schedcf reads sched.cf, the operator's policy, into package policy's form. The
// structure is HCL's; conditions have HCL's syntax and are compiled here, not evaluated by
// HCL, which is some hundred times slower. Only postsched links this package: the daemons
// get the compiled form.
//
// Whatever is wrong is a Problem with file, line and column, and where a name is not known,
// with the name that was probably meant. What Read accepts without an error, a policy's
// Check accepts.
package schedcf
