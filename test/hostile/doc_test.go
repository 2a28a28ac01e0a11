// Package hostile tests what users of the machine can do to the mail of others, by the
// sockets that everybody may connect to and by maildrop/: a system that root started
// carries a steady stream of mail in and out, while processes of an ordinary user, some
// of which have gained the group postdrop, do what they can.
//
// What must hold in every run is counted: no mail is lost or repeated, the daemons'
// descriptors, memory and processor time stay bounded, root gets in. How long a message
// takes is noise on a machine that runs other tests beside this one; the comparison of
// the 99th percentile without and with each attack is made by "make hostile", over
// rounds in turn, and its result stands in doc/reliability.md.
//
// Without uid 0 every test is skipped.
package hostile
