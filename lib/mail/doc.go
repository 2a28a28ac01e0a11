// Package mail holds the nouns that every part of Postrider shares: address,
// recipient, envelope, queue id and delivery status. It imports nothing of
// ours and touches no file, socket or clock; whoever needs the time passes it.
package mail
