package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/rehearsal"
)

// rehearsalObject is what `migrate --rehearse` prints.
type rehearsalObject struct {
	head
	rehearsal.Report
}

// rehearse copies a share of the table to where Sentry does not look, and removes it.
// There is no checkpoint: what was done of it is of no use afterwards.
func (w *work) rehearse(ctx context.Context) (err error) {
	debug.SetGCPercent(garbagePercent)
	w.governor = w.govern(w.options.Senders, w.options.BatchBytes, func(cause string) { w.show.event(migrate.Event{Kind: heldEvent, Cause: cause}) })
	w.options.Gate = w.governor
	working, cancel := w.process.untilStopped(ctx)
	defer cancel()
	w.session, err = w.reach(working, w.process, w.options.Readers+1, w.waiting)
	if err != nil {
		return w.orStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, w.session.close()) }()
	if _, err := w.session.Source.CheckSilo(working, w.Region); err != nil {
		return w.orStopped(ctx, err)
	}
	to, err := w.targetFlags.config(working, w.process)
	if err != nil {
		return w.orStopped(ctx, err)
	}
	to.Waiting = w.waiting // the stage is reached by a connection of its own
	defer w.watch(ctx)()
	report, err := rehearsal.Run(working, rehearsal.Config{
		Source: w.session.Source, Target: w.session.Target, To: to, Origin: w.session.bound.Source,
		Options: w.options, Share: w.Rehearse.share, Seed: cmp.Or(w.Seed, uint64(rand.Uint32())), Accept: w.AcceptRejected.list,
		Watch: func(m *migrate.Migration) (stop func()) {
			return w.show.tick(func(now time.Time) { w.show.progress(now, m.Progress()) })
		},
	})
	if err = w.orStopped(ctx, err); report.Complete() { // also if it could not be removed
		err = errors.Join(w.tellOf(&report, err == nil), err)
	}
	if err == nil && report.Verified.Findings > 0 {
		err = errRejected
	}
	return err
}

// tellOf prints a report.
func (w *work) tellOf(r *rehearsal.Report, removed bool) error {
	if w.JSON {
		return json.NewEncoder(w.process.stdout).Encode(rehearsalObject{headed("rehearsal"), *r})
	}
	text := rehearsalText(r)
	if removed {
		text += "What was made for it on the target is removed.\n"
	}
	_, err := fmt.Fprint(w.process.stdout, text)
	return err
}

// orStopped is an error, or that the operator has ended what failed by it.
func (w *work) orStopped(ctx context.Context, err error) error {
	stopped := errors.Is(err, migrate.ErrInterrupted)
	select {
	case <-w.options.Stop:
		stopped = stopped || ctx.Err() == nil && errors.Is(err, context.Canceled)
	default:
	}
	if stopped {
		return hint.Add(migrate.ErrInterrupted, "a rehearsal cannot be resumed: run it again")
	}
	return err
}

func rehearsalText(r *rehearsal.Report) string {
	var out strings.Builder
	line := func(name, text string) { fmt.Fprintf(&out, "%-12s %s\n", name, text) }
	line("copied", fmt.Sprintf("%s and %s in %s of %s, of about %s and %s in %s",
		amount.Of(r.Sample.Rows, "row"), amount.Size(r.Sample.Bytes), amount.Of(int64(r.Sample.Slices), "slice"), amount.Of(int64(r.Sample.Days), "day"),
		amount.Of(r.Total.Rows, "row"), amount.Size(r.Total.Bytes), amount.Of(int64(r.Total.Days), "day")))
	line("drawn", fmt.Sprintf("at random; --seed %d draws the same again", r.Seed))
	verified := "none differs"
	if r.Verified.Findings > 0 {
		var classes []string
		for _, class := range slices.Sorted(maps.Keys(r.Verified.ByClass)) {
			classes = append(classes, words(string(class))+" "+amount.Count(r.Verified.ByClass[class]))
		}
		verified = amount.Of(r.Verified.Findings, "finding") + ": " + strings.Join(classes, ", ")
	}
	line("verified", fmt.Sprintf("%s, every payload: %s", amount.Of(r.Verified.Nodes, "node"), verified))
	fmt.Fprintf(&out, "The whole, by that, with %.0f %% confidence each:\n", 100*r.Confidence)
	size := func(x float64) string { return amount.Size(int64(x)) }
	line("speed", interval(r.BytesPerSecond, func(x float64) string { return size(x) + "/s" }))
	line("duration", interval(r.Seconds, func(x float64) string {
		return time.Duration(min(x, 9e9) * float64(time.Second)).Round(time.Second).String()
	})+", without compaction, which goes on beside it")
	line("disk", interval(r.CompactBytes, size)+" of primary shards when all days are compact, "+interval(r.LoadedBytes, size)+" before")
	for _, reason := range slices.Sorted(maps.Keys(r.Rejected)) {
		f := r.Rejected[reason]
		line("rejected", fmt.Sprintf("%s: %s; %s of it in what was copied", words(string(reason)),
			interval(f.Interval, func(x float64) string { return amount.Count(int64(x + 0.5)) }), amount.Count(f.Seen)))
	}
	line("rejected", fmt.Sprintf("for any other reason at most %s, if they are spread evenly", amount.Count(r.AtMost())))
	return out.String()
}

// interval writes an estimate and between what it lies.
func interval(i rehearsal.Interval, write func(float64) string) string {
	text := write(i.Estimate)
	switch {
	case i.Low != nil && i.High != nil:
		text += " (" + write(*i.Low) + " to " + write(*i.High) + ")"
	case i.Low != nil:
		text += " (at least " + write(*i.Low) + ")"
	}
	return text
}
