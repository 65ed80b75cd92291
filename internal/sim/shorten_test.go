package sim

import "slices"

// shorten looks for the shortest history that still fails, by leaving out ever
// smaller parts of it.
func shorten(h history, fails func(history) bool) history {
	for size := max(len(h.steps)/2, 1); size > 0; size /= 2 {
		for at := 0; at+size <= len(h.steps); {
			shorter := history{h.setting, without(h.steps, at, size)}
			if fails(shorter) {
				h = shorter
				continue
			}
			at += size
		}
	}
	for i := range h.steps {
		h = calm(h, i, fails)
	}
	for _, plainer := range []setting{{shape: h.shape}, {keep: h.keep, closed: h.closed}, {closed: h.closed}, {keep: h.keep}, {}} {
		plainer.calm = h.calm
		if plain := (history{plainer, h.steps}); plainer != h.setting && fails(plain) {
			h = plain
		}
	}
	return h
}

// calm leaves out what happens during a run.
func calm(h history, i int, fails func(history) bool) history {
	try := func(r run) {
		calmer := history{h.setting, slices.Clone(h.steps)}
		calmer.steps[i].run = r
		if fails(calmer) {
			h = calmer
		}
	}
	if r := h.steps[i].run; r.crash.request != 0 {
		r.crash = crash{}
		try(r)
	}
	for at := len(h.steps[i].run.during) - 1; at >= 0; at-- {
		r := h.steps[i].run
		r.during = without(r.during, at, 1)
		try(r)
	}
	return h
}

func without[T any](all []T, at, size int) []T {
	return append(append([]T(nil), all[:at]...), all[at+size:]...)
}
