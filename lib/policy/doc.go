// Package policy holds a compiled sched.cf: which queue, schedule, pool, route and
// limits a recipient's mail has. It is what the daemons link; the language itself is read
// by package schedcf, outside of them, and comes here in a binary form (Encode,
// Decode). The package does no input or output and knows no clock: Decide is given the
// Facts, and says what it lacks instead of waiting for it (Need).
//
// Whatever Decide names, it names by its index in the Policy. Index 0 of each list but
// the rules is always there and means "as main.cf says", so that the zero Decision is
// Postfix's behaviour, and so is a nil *Policy.
package policy
