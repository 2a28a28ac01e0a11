package sasl

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// File is a file of "user:hash" lines (smtpd_sasl_type = file), with hashes of bcrypt
// ("$2y$...", htpasswd -nB) or SHA-512 crypt ("$6$...", openssl passwd -6). A scheme in braces before the hash, as doveadm pw writes it,
// is passed over, and so are fields behind it. Nothing of it changes.
type File struct {
	hashes map[string]string
	slots  chan struct{} // a hash takes a tenth of a second of a processor on purpose
	decoy  string        // is compared for users who are not there
}

// ErrFile is the kind of error for lines that cannot be used.
var ErrFile = errors.New("bad line in password file")

// ParseFile reads the text. The File can be used whatever the error: lines that are named in
// it let nobody in. atOnce is how many passwords are compared at a time.
func ParseFile(path string, text []byte, atOnce int) (*File, error) {
	f := &File{hashes: map[string]string{}, slots: make(chan struct{}, atOnce)}
	var errs []error
	n := 0
	for line := range bytes.Lines(text) {
		n++
		user, rest, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if user == "" && !ok || strings.HasPrefix(user, "#") {
			continue
		}
		hash, _, _ := strings.Cut(rest, ":")
		if strings.HasPrefix(hash, "{") {
			_, hash, _ = strings.Cut(hash, "}")
		}
		if user == "" || !known(hash) {
			errs = append(errs, fmt.Errorf("%s, line %d: %w: write user:hash with a hash of bcrypt or of SHA-512 crypt (openssl passwd -6)", path, n, ErrFile))
			continue
		}
		f.hashes[user] = hash
		if f.decoy == "" {
			f.decoy = hash
		}
	}
	return f, errors.Join(errs...)
}

func known(hash string) bool {
	if _, err := bcrypt.Cost([]byte(hash)); err == nil {
		return true
	}
	_, _, _, ok := parseCrypt(hash)
	return ok
}

// Mechanisms implements Server: hashes serve those alone that show the password.
func (f *File) Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// Start implements Server.
func (f *File) Start(mechanism string, _ Peer, initial []byte) (Session, Step) {
	switch mechanism {
	case "PLAIN":
		if initial == nil {
			return &fileLogin{file: f, plain: true}, Step{Outcome: Continue}
		}
		return nil, f.plain(initial)
	case "LOGIN":
		s := &fileLogin{file: f}
		if initial == nil {
			return s, Step{Outcome: Continue, Challenge: []byte("Username:")}
		}
		return s, s.Next(initial)
	}
	return nil, Step{Reason: "Invalid authentication mechanism"}
}

// plain is RFC 4616: authorization identity, NUL, name, NUL, password. Nobody may be
// somebody else.
func (f *File) plain(response []byte) Step {
	p := bytes.Split(response, []byte{0})
	if len(p) != 3 || len(p[0]) > 0 && !bytes.Equal(p[0], p[1]) {
		return Step{Reason: "Invalid response"}
	}
	return f.check(string(p[1]), p[2])
}

// check compares. A user who is not there takes as long as one who is.
func (f *File) check(user string, password []byte) Step {
	f.slots <- struct{}{}
	defer func() { <-f.slots }()
	hash, ok := f.hashes[user]
	if !ok {
		hash = f.decoy
	}
	if same(hash, password) && ok {
		return Step{Outcome: Accepted, User: user}
	}
	return Step{User: user}
}

func same(hash string, password []byte) bool {
	if strings.HasPrefix(hash, "$6$") {
		return compareCrypt(hash, password)
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), password) == nil
}

type fileLogin struct {
	file  *File
	plain bool
	user  *string
}

// Next implements Session.
func (s *fileLogin) Next(response []byte) Step {
	switch {
	case s.plain:
		return s.file.plain(response)
	case s.user == nil:
		user := string(response)
		s.user = &user
		return Step{Outcome: Continue, Challenge: []byte("Password:")}
	}
	return s.file.check(*s.user, response)
}

// Cancel implements Session.
func (s *fileLogin) Cancel() {}
