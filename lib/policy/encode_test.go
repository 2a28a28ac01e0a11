package policy

import (
	"errors"
	"hash/crc32"
	"reflect"
	"testing"
)

func TestEncode(t *testing.T) {
	p := rich(t)
	b := p.Encode()
	q, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	p.ready, q.ready = nil, nil
	if !reflect.DeepEqual(p, q) {
		t.Errorf("wrote %+v\nread %+v", p, q)
	}
	for i := range b {
		c := append([]byte(nil), b...)
		c[i] ^= 1
		if _, err := Decode(c); !errors.Is(err, ErrPolicy) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

// seal gives b the checksum of a binary form.
func seal(b []byte) []byte {
	head := append([]byte(magic), version)
	sum := crc32.Checksum(b, castagnoli)
	return append(append(head, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)), b...)
}

// FuzzDecode: whatever is accepted can be evaluated, and written again.
func FuzzDecode(f *testing.F) {
	f.Add(rich(f).Encode()[len(magic)+5:])
	f.Add(many(f, 3).Encode()[len(magic)+5:])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(seal(b))
		if err != nil {
			return
		}
		facts := Facts{Rcpt: "a@b", RcptDomain: "b", MXKnown: true, ClientAddress: "192.0.2.1"}
		var d Decision
		for range 3 {
			need := p.Decide(&facts, &d)
			if need == nil {
				break
			}
			facts.Answers = append(facts.Answers, need.Answer("x", true))
		}
		p.QuotasOf(&facts, nil)
		p.Times(&facts)
		if _, err := Decode(p.Encode()); err != nil {
			t.Fatalf("written again: %v", err)
		}
	})
}
