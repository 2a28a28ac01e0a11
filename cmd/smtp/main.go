// Command smtp sends mail by SMTP; master starts it.
package main

import "postrider/smtp"

func main() { smtp.Main() }
