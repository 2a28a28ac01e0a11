// Package agent is a delivery agent's half of the deliver conversation: smtp,
// local and bounce share it. It takes deliveries from qmgr, runs a handler on
// each with the concurrency that master.cf allows, and sends the results.
//
// What was asked for stays in hand until qmgr acknowledged the result: when qmgr
// dies, the work goes on, and the next qmgr hears in our hello of everything that
// it must not start, and gets the results again. So the death of qmgr repeats no
// delivery (S4).
//
// The package reads the sockets and descriptors it is given and touches nothing
// else; it imports mail, ipc and proto.
package agent
