package slot

import (
	"encoding/binary"
	"fmt"
)

// StrayRecord reads a record that was copied out of its file, as into corrupt/: what
// the file's header would say it takes from the record itself. The record points into
// b. The error is ErrDamage when b does not begin with a good record.
func StrayRecord(b []byte) (Record, error) {
	if len(b) < headSize {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrDamage, len(b))
	}
	le := binary.LittleEndian
	key := le.Uint64(b)
	rec, ok := decodeHead(b, key, le.Uint64(b[8:]), int64(le.Uint64(b[16:])))
	if !ok || headSize+len(rec.ID)+rec.envelope+rec.ContentSize > len(b) {
		return Record{}, fmt.Errorf("%w: no whole record", ErrDamage)
	}
	if bad := rec.body(b, key, false); bad != "" {
		return rec.Record, fmt.Errorf("%w: record %v: %s", ErrDamage, rec.Ref, bad)
	}
	return rec.Record, nil
}
