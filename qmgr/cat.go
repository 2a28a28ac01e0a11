package qmgr

import (
	"io"

	"postrider/lib/proto"
	"postrider/lib/spool"
)

// raw is a frame of content.
type raw []byte

// Append implements ipc.Appender.
func (r raw) Append(b []byte) []byte { return append(b, r...) }

// cat sends a message: what a listing says of it, then its content in pieces.
func (o *operator) cat(ids []string) proto.Done {
	var done proto.Done
	err := o.each(nil, ids, func(items []*listed) error {
		for _, it := range items {
			if err := o.send(proto.TypeItem, &it.Item); err != nil {
				return err
			}
			if err := o.content(it.found); err != nil {
				return err
			}
			done.Count++
			done.IDs = append(done.IDs, string(it.ID))
		}
		return nil
	})
	if err != nil {
		return proto.Done{Code: exTempFail, Text: "reading the message: " + err.Error()}
	}
	return done
}

func (o *operator) content(it *spool.Item) error {
	r, err := o.m.spool.Cat(it)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, proto.InlineMax)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := o.send(proto.TypeContent, raw(buf[:n])); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
