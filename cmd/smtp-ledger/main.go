// Command smtp-ledger tries a mail system: it sends numbered messages through it,
// receives them again, and says what was lost.
package main

import "postrider/test/ledger/command"

func main() { command.Main() }
