package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"postrider/test/ledger"
)

// inspect enters what is in the queue. It is asked for only when something has not come.
func (t *trial) inspect() error {
	if t.ledger.Open() == 0 {
		return nil
	}
	out, err := t.tool("postqueue", "-j").Output()
	if err != nil {
		return fmt.Errorf("postqueue -j: %w%s", err, said(err))
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, len(out)+1)
	for lines.Scan() {
		var q struct {
			ID         string `json:"queue_id"`
			Sender     string `json:"sender"`
			Recipients []struct {
				Address string `json:"address"`
			} `json:"recipients"`
		}
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return fmt.Errorf("postqueue -j: %w", err)
		}
		if q.Sender != t.sender() {
			continue
		}
		content, err := t.tool("postcat", "-q", "-h", "-b", q.ID).Output()
		if err != nil {
			fmt.Fprintf(t.stderr, "smtp-ledger: postcat -q %s: %v%s\n", q.ID, err, said(err)) // it may just have gone out
			continue
		}
		id, sum, err := ledger.Identify(content)
		if err != nil || !strings.HasPrefix(id, t.name) {
			continue
		}
		for _, r := range q.Recipients {
			t.ledger.Queued(id, r.Address, sum)
		}
	}
	return lines.Err()
}

// said is what a command that failed wrote to standard error.
func said(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return ": " + strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}
