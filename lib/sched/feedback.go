package sched

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Feedback is how much one result moves a window, in units of one connection,
// within 0 to 1 (default_destination_concurrency_positive_feedback and
// ..._negative_feedback). The zero value never moves it.
type Feedback struct {
	amount float64
	by     divisor
}

type divisor uint8

const (
	byNothing divisor = iota
	byConcurrency
	bySqrtConcurrency
)

// ParseFeedback reads Postfix's forms: "1", "0.5", "1/4", "1/concurrency" and
// "1/sqrt_concurrency".
func ParseFeedback(text string) (Feedback, error) {
	num, div, ratio := strings.Cut(strings.TrimSpace(text), "/")
	f := Feedback{}
	var err error
	if f.amount, err = strconv.ParseFloat(strings.TrimSpace(num), 64); err == nil && ratio {
		switch div = strings.TrimSpace(div); div {
		case "concurrency":
			f.by = byConcurrency
		case "sqrt_concurrency":
			f.by = bySqrtConcurrency
		default:
			var d float64
			d, err = strconv.ParseFloat(div, 64)
			f.amount /= d
		}
	}
	if err != nil || !(f.amount >= 0 && f.amount <= 1) { // also not a number
		return Feedback{}, fmt.Errorf("concurrency feedback %q: want a number from 0 to 1, a/b, a/concurrency or a/sqrt_concurrency", text)
	}
	return f, nil
}

// at returns the feedback of one result at the given window.
func (f Feedback) at(window int) float64 {
	switch f.by {
	case byConcurrency:
		return f.amount / float64(window)
	case bySqrtConcurrency:
		return f.amount / math.Sqrt(float64(window))
	}
	return f.amount
}
