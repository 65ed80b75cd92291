package source

// halving reads a range of time, and where the server cannot read it at once, its
// halves and theirs.
type halving struct {
	width int64 // halves begin at multiples of it

	// read reads a part as a whole; deliver hands over what was read, so that
	// nothing comes twice.
	read func(from, to int64) (deliver func() error, err error)

	// alone hears of a part that cannot be read, and not be halved any more.
	alone func(from int64, err error) error
}

func (h *halving) span(from, to int64) error {
	deliver, err := h.read(from, to)
	if err == nil {
		return deliver()
	}
	if !divisible(err) {
		return err
	}
	half := middle(from, to)
	if half -= (half%h.width + h.width) % h.width; half <= from {
		half += h.width
	}
	if half >= to {
		return h.alone(from, err)
	}
	if err := h.span(from, half); err != nil {
		return err
	}
	return h.span(half, to)
}

// middle halves [from, to), as far as timestamps reach.
func middle(from, to int64) int64 {
	from, to = max(from, minMicros), min(to, maxMicros)
	return from + (to-from)/2
}
