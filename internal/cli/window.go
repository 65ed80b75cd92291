package cli

import "time"

// window is the last minute of a run, from which its present speed is taken.
type window struct {
	times []time.Time
	done  []int64 // bytes or nodes
	begun time.Time
}

const windowLength = time.Minute

func (w *window) add(now time.Time, done int64) {
	if w.begun.IsZero() {
		w.begun = now
	}
	w.times, w.done = append(w.times, now), append(w.done, done)
	for len(w.times) > 2 && now.Sub(w.times[0]) > windowLength {
		w.times, w.done = w.times[1:], w.done[1:]
	}
}

// rate is how much was done a second.
func (w *window) rate() float64 {
	last := len(w.times) - 1
	if last < 1 {
		return 0
	}
	return float64(w.done[last]-w.done[0]) / w.times[last].Sub(w.times[0]).Seconds()
}

// left is the time that a run still takes, or 0 as long as that can not be
// told: it can after ten seconds, and a hundredth of the way of this run.
func (w *window) left(done, planned int64) time.Duration {
	last, rate := len(w.times)-1, w.rate()
	if rate <= 0 || done > planned || w.times[last].Sub(w.begun) < 10*time.Second || done*100 < planned {
		return 0
	}
	return time.Duration(float64(planned-done) / rate * float64(time.Second))
}
