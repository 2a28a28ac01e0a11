package slot

import (
	"encoding/binary"
)

// Seal says that a file ends at Length: its writer went on elsewhere. What lies
// behind was never acknowledged and is not read, however good it looks.
type Seal struct {
	File   uint64
	Length int64
}

// AppendSeals appends the envelope of a TypeSeal record. It is the first record
// of a file and names the file before it, and others whose sync failed.
func AppendSeals(b []byte, seals []Seal) []byte {
	for _, s := range seals {
		b = binary.AppendUvarint(b, s.File)
		b = binary.AppendUvarint(b, uint64(s.Length))
	}
	return b
}

// DecodeSeals reads the envelope of a TypeSeal record. The error is ErrDamage.
func DecodeSeals(b []byte) ([]Seal, error) {
	var out []Seal
	for len(b) > 0 {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, ErrDamage
		}
		l, k2 := binary.Uvarint(b[k:])
		if k2 <= 0 || l > 1<<62 {
			return nil, ErrDamage
		}
		out = append(out, Seal{n, int64(l)})
		b = b[k+k2:]
	}
	return out, nil
}

// Name is a file of maildrop/ and the message it has become.
type Name struct {
	Name string
	Ref  Ref
}

// AppendNames appends the envelope of a TypeNames record: files that were taken
// over into older files and may still be in maildrop/.
func AppendNames(b []byte, names []Name) []byte {
	for _, n := range names {
		b = binary.AppendUvarint(b, n.Ref.File)
		b = binary.AppendUvarint(b, uint64(n.Ref.Slot))
		b = binary.AppendUvarint(b, uint64(len(n.Name)))
		b = append(b, n.Name...)
	}
	return b
}

// DecodeNames reads the envelope of a TypeNames record. The error is ErrDamage.
func DecodeNames(b []byte) ([]Name, error) {
	var out []Name
	for len(b) > 0 {
		var v [3]uint64
		for i := range v {
			n, k := binary.Uvarint(b)
			if k <= 0 {
				return nil, ErrDamage
			}
			v[i], b = n, b[k:]
		}
		if v[1] > 1<<32-1 || v[2] > uint64(len(b)) {
			return nil, ErrDamage
		}
		out = append(out, Name{string(b[:v[2]]), Ref{v[0], uint32(v[1])}})
		b = b[v[2]:]
	}
	return out, nil
}

// Large stands in a FlagLarge record in the place of the content, which is in
// the file content/ID.
type Large struct {
	Size int64
	CRC  uint32 // CRC-32C of the file
}

// AppendLarge appends the stored form.
func AppendLarge(b []byte, l Large) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(l.Size))
	return binary.LittleEndian.AppendUint32(b, l.CRC)
}

// DecodeLarge reads the stored form. The error is ErrDamage.
func DecodeLarge(b []byte) (Large, error) {
	if len(b) != 12 || binary.LittleEndian.Uint64(b) > 1<<62 {
		return Large{}, ErrDamage
	}
	return Large{int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint32(b[8:])}, nil
}

// AppendCopy begins the envelope of a TypeCopy record: the message that was first
// stored at ref. Its own envelope follows.
func AppendCopy(b []byte, ref Ref) []byte {
	b = binary.AppendUvarint(b, ref.File)
	return binary.AppendUvarint(b, uint64(ref.Slot))
}

// DecodeCopy reads the envelope of a TypeCopy record. The error is ErrDamage.
func DecodeCopy(b []byte) (ref Ref, envelope []byte, err error) {
	file, k := binary.Uvarint(b)
	if k <= 0 {
		return ref, nil, ErrDamage
	}
	n, k2 := binary.Uvarint(b[k:])
	if k2 <= 0 || n > 1<<32-1 {
		return ref, nil, ErrDamage
	}
	return Ref{file, uint32(n)}, b[k+k2:], nil
}
