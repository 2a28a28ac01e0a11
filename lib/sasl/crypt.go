package sasl

import (
	"crypto/sha512"
	"crypto/subtle"
	"strconv"
	"strings"
)

// SHA-512 crypt, "$6$salt$hash" or "$6$rounds=N$salt$hash", as Ulrich Drepper's "Unix crypt
// using SHA-256 and SHA-512" has it. The numbers of steps are that text's.

// parseCrypt divides a hash.
func parseCrypt(hash string) (rounds int, salt, sum string, ok bool) {
	rest, ok := strings.CutPrefix(hash, "$6$")
	if !ok {
		return 0, "", "", false
	}
	rounds = 5000
	if n, found := strings.CutPrefix(rest, "rounds="); found {
		var text string
		if text, rest, ok = strings.Cut(n, "$"); !ok {
			return 0, "", "", false
		}
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1000 || rounds > 10_000_000 {
			return 0, "", "", false
		}
	}
	salt, sum, ok = strings.Cut(rest, "$")
	return rounds, salt, sum, ok && len(salt) <= 16 && len(sum) == 86
}

func compareCrypt(hash string, password []byte) bool {
	rounds, salt, sum, ok := parseCrypt(hash)
	return ok && subtle.ConstantTimeCompare([]byte(crypt512(password, []byte(salt), rounds)), []byte(sum)) == 1
}

// repeat returns n bytes of b, repeated.
func repeat(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b))
	for len(out) < n {
		out = append(out, b...)
	}
	return out[:n]
}

// crypt512 returns the part of the hash behind the salt.
func crypt512(password, salt []byte, rounds int) string {
	h := sha512.New()
	h.Write(password) // 4 to 8
	h.Write(salt)
	h.Write(password)
	b := h.Sum(nil)

	h.Reset() // 1 to 3, 9 to 12
	h.Write(password)
	h.Write(salt)
	h.Write(repeat(b, len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write(b)
		} else {
			h.Write(password)
		}
	}
	a := h.Sum(nil)

	h.Reset() // 13 to 16
	for range password {
		h.Write(password)
	}
	p := repeat(h.Sum(nil), len(password))

	h.Reset() // 17 to 20
	for range 16 + int(a[0]) {
		h.Write(salt)
	}
	s := repeat(h.Sum(nil), len(salt))

	for i := range rounds { // 21
		h.Reset()
		if i&1 != 0 {
			h.Write(p)
		} else {
			h.Write(a)
		}
		if i%3 != 0 {
			h.Write(s)
		}
		if i%7 != 0 {
			h.Write(p)
		}
		if i&1 != 0 {
			h.Write(a)
		} else {
			h.Write(p)
		}
		a = h.Sum(a[:0])
	}
	return encodeCrypt(a)
}

// encodeCrypt writes 64 bytes in the order and the letters of crypt(3) (22).
func encodeCrypt(a []byte) string {
	const letters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, 86)
	put := func(v uint32, n int) {
		for range n {
			out = append(out, letters[v&63])
			v >>= 6
		}
	}
	x, y, z := 0, 21, 42
	for range 21 {
		put(uint32(a[x])<<16|uint32(a[y])<<8|uint32(a[z]), 4)
		x, y, z = y+1, z+1, x+1
	}
	put(uint32(a[63]), 2)
	return string(out)
}
