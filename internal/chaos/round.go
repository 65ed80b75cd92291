package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// round is one migration from its first run to its verdict. All that is random
// about it comes from its seed, but when things happen does not.
type round struct {
	*sentry
	*results
	ctx      context.Context
	rng      *rand.Rand
	seed     uint64
	dir      string
	began    time.Time
	run      *tool
	verb     []string        // what runs, with flags of its own
	again    []string        // lost days that the tool has asked to copy again
	dropped  map[string]bool // days whose index was dropped
	current  string          // the last fault
	told     bool            // the run knows of the switch, at the latest from its flags
	erased   bool            // Sentry has deleted at the target
	vanished bool            // the tool has asked to confirm that so much was deleted
	events   []string
	failed   []string
}

func newRound(ctx context.Context, on *servers, total *results, seed uint64) (*round, error) {
	dir, err := os.MkdirTemp("", "nodestore-chaos-")
	return &round{
		sentry: newSentry(on, fmt.Sprintf("chaos%d", seed), seed), results: total, ctx: ctx, seed: seed, dir: dir, began: time.Now().UTC(),
		rng: rand.New(rand.NewPCG(seed, 1)), dropped: make(map[string]bool), current: "none",
	}, err
}

func (r *round) event(format string, args ...any) {
	r.events = append(r.events, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	r.events = r.events[max(0, len(r.events)-50):]
}

func (r *round) fail(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
	r.event("FAILURE: "+format, args...)
}

// play is the whole of a round. Its error is the campaign's own.
func (r *round) play(rows, faults int) (err error) {
	defer func() {
		if r.run != nil {
			r.run.kill()
		}
		err = errors.Join(err, r.cleanUp(context.WithoutCancel(r.ctx)), os.RemoveAll(r.dir))
	}()
	if err := r.prepare(r.ctx, rows, r.rng); err != nil {
		return err
	}
	switched, err := r.beforeSwitch(faults * 6 / 10)
	if err != nil {
		return err
	}
	if err := r.afterSwitch(switched, faults-faults*6/10); err != nil {
		return err
	}
	found, err := r.judge(expected{safe: true, clean: true})
	r.add(found)
	if err != nil || len(r.failed) > 0 {
		return err
	}
	return r.sabotage()
}

// beforeSwitch is the copy while Sentry works at the source. It returns when
// Sentry has written there for the last time, but for a transaction that is late.
func (r *round) beforeSwitch(faults int) (string, error) {
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() { r.work(ctx, rand.New(rand.NewPCG(r.seed, 2))) })
	writer.Go(func() { r.lag(ctx, rand.New(rand.NewPCG(r.seed, 3))) })
	r.verb = []string{"migrate", "--max-mb-per-second", []string{"0.3", "0.6", "2"}[r.rng.IntN(3)]}
	if r.rng.IntN(3) == 0 {
		if err := r.refused(); err != nil {
			return "", err
		}
	}
	if err := r.storm(faults); err != nil {
		return "", err
	}
	r.verb = r.verb[:1]
	if r.rng.IntN(2) == 0 { // the last run before the switch; without it, the run after it has more to do
		r.calm()
	}
	stop()
	now := time.Now().UTC()
	r.event("the switch")
	writer.Wait()
	return now.Format(time.RFC3339Nano), r.ctx.Err()
}

// refused changes the template so that a new index would not be behind the alias,
// which the tool has to refuse, and gives the template back.
func (r *round) refused() error {
	r.current = "OpenSearch: template changed, restored after the refusal"
	r.faults[r.current]++
	path := "/_index_template/" + r.alias
	if err := r.ask(r.ctx, http.MethodPut, path, r.template(r.alias+"-other"), nil); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	if code, _ := r.finish(); code != 1 {
		r.fail("exit code %d with a template that has another alias", code)
	}
	return r.ask(r.ctx, http.MethodPut, path, r.template(r.alias), nil)
}

// afterSwitch is the rest, while Sentry works at the target.
func (r *round) afterSwitch(switched string, faults int) error {
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() { r.workAtTarget(ctx, rand.New(rand.NewPCG(r.seed, 4))) })
	at, err := time.Parse(time.RFC3339Nano, switched)
	if err != nil {
		return err
	}
	r.verb = []string{"migrate", "--switched-at", switched}
	if err := r.storm(faults / 2); err != nil {
		return err
	}
	r.calm() // the first verify wants a checkpoint that knows of the switch
	r.verb = []string{"verify", "--level", "full"}
	if err := r.storm(faults - faults/2); err != nil {
		return err
	}
	stop()
	writer.Wait()
	r.finish()
	pause(r.ctx, time.Until(at.Add(overlap+2*time.Second)))
	r.verb = []string{"migrate", "--switched-at", switched}
	r.calm()
	return r.ctx.Err()
}

// storm injects faults into runs of the present command, again and again.
func (r *round) storm(faults int) error {
	r.finish()
	for faults > 0 && len(r.failed) == 0 {
		if err := r.ctx.Err(); err != nil {
			return fmt.Errorf("%d faults were still to come: %w", faults, err)
		}
		if r.run == nil {
			if err := r.start(); err != nil {
				return err
			}
		}
		pause(r.ctx, time.Duration(r.rng.IntN(500))*time.Millisecond)
		if !r.run.running() {
			r.finish()
			continue
		}
		k := r.draw()
		before := r.current
		r.current = k.name
		happened, err := k.do(r, r.rng)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		if !happened {
			r.current = before
			continue
		}
		faults--
		r.faults[k.name]++
		r.event("%s", k.name)
	}
	return nil
}

func (r *round) draw() kind {
	all := kinds()
	total := 0
	for _, k := range all {
		total += k.weight
	}
	for {
		left := r.rng.IntN(total)
		at := slices.IndexFunc(all, func(k kind) bool { left -= k.weight; return left < 0 })
		if r.verb[0] == "migrate" || !strings.Contains(all[at].name, "index dropped") {
			return all[at]
		}
	}
}

// start runs the present command.
func (r *round) start() (err error) {
	r.finish()
	args := slices.Clone(r.verb[1:])
	if r.verb[0] == "migrate" && len(r.again) > 0 {
		args = append(args, "--copy-again", strings.Join(r.again, ","))
		r.copiedAgain++
	}
	if r.verb[0] == "migrate" && r.vanished {
		args = append(args, "--remove-vanished")
	}
	r.told = slices.Contains(args, "--switched-at")
	r.event("start: %s %s", r.verb[0], strings.Join(args, " "))
	r.run, err = startTool(r.dir, arguments(r.sentry, r.dir, r.verb[0], args...))
	return err
}

// finish waits for the run, if there is one, and judges how it ended.
func (r *round) finish() (code int, said summary) {
	if r.run == nil {
		return 0, said
	}
	run := r.run
	r.run = nil
	if !run.wait(3 * time.Minute) {
		r.fail("a run did not end within 3 minutes")
		run.kill()
	}
	code, said = run.code(), run.summary()
	r.runs++
	r.event("ended with %d: %s", code, run.said())
	r.ended[end{r.current, code}]++
	if code == 1 {
		r.said[general(run.said())]++
	}
	if strings.Contains(run.said(), "no longer at the source") { // Sentry deletes more than the tool takes for likely
		r.vanished = true
		return code, said
	}
	if run.crashed() || !slices.Contains([]int{killed, 0, 1, 3, 130}, code) || code == 1 && r.current == "none" {
		r.fail("exit code %d: %.2000s", code, run.stderr.String())
	}
	if code == 0 || code == 3 {
		r.check(code, said)
	}
	return code, said
}

// check judges what a run that came to its end says.
func (r *round) check(code int, said summary) {
	if said.Type != "summary" {
		r.fail("exit code %d without a summary", code)
		return
	}
	if r.verb[0] == "verify" {
		return
	}
	var fates int64
	for _, n := range said.Fates {
		fates += n
	}
	if fates != said.Read {
		r.fail("fates %v do not add up to %d", said.Fates, said.Read)
	}
	r.again = nil
	for _, lost := range said.Lost {
		r.again = append(r.again, lost.Day)
		if !r.dropped[lost.Day] {
			r.fail("day %s is called lost, and nobody dropped its index", lost.Day)
		}
	}
	rejects := r.seed%2 == 1 && said.Fates["rejected"] > 0
	// A run that is not told of the switch finds what Sentry wrote since beside its own copies.
	doubled := said.Doubled > 0 && !r.told
	if caused := rejects || doubled || len(said.Lost) > 0 || r.erased && said.Missing > 0; caused != (code == 3) {
		r.fail("exit code %d; lost %v, missing %d, doubled %d, fates %v", code, said.Lost, said.Missing, said.Doubled, said.Fates)
	}
}

// calm runs the present command until it has come to its end, without faults.
func (r *round) calm() (said summary) {
	r.http.disarm()
	r.finish()
	r.current = "none"
	for range 5 {
		if err := r.start(); err != nil {
			r.fail("start: %v", err)
			return said
		}
		code, said := r.finish()
		if code == 0 || code == 3 && len(said.Lost) == 0 {
			return said
		}
	}
	r.fail("%v does not come to its end", r.verb)
	return said
}

// expected is what the tool's verdict and the campaign's own reader have to say.
type expected struct{ safe, clean bool }

// judge compares the tool's verdict with that of the campaign's own reader.
func (r *round) judge(want expected) (comparison, error) {
	r.verb = []string{"verify", "--level", "full", "--require-safe"}
	if r.seed%2 == 1 {
		r.verb = append(r.verb, "--accept-rejected", "pickle,empty,corrupt_base64,corrupt_zlib,not_json")
	}
	said := r.calm()
	found, err := r.compare(r.ctx)
	if err == nil && (expected{said.Safe, found.problems() == 0}) != want {
		r.fail("the tool's verdict: safe is %t %q; the reader found %+v", said.Safe, said.Because, found)
	}
	return found, err
}

// sabotage breaks something after the verdict: the next one must not be the
// same, and what Sentry deletes must not come back.
func (r *round) sabotage() error {
	present, err := r.rows(r.ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, id := range r.ids {
		if _, sentrys := r.written[id]; !sentrys && present[id] != unreadable {
			ids = append(ids, id)
		}
	}
	id := ids[r.rng.IntN(len(ids))]
	places, _, err := r.read(r.ctx, id)
	if err != nil {
		return err
	}
	switch r.rng.IntN(4) {
	case 0:
		r.event("Sentry deletes %s", id)
		return r.deleteForGood(id)
	case 3:
		r.event("the document of %s is gone", id)
		err = r.ask(r.ctx, http.MethodDelete, "/"+places[0]+"/_doc/"+url.PathEscape(id)+"?refresh=true", nil, nil)
	case 1:
		r.event("other bytes for %s", id)
		err = r.plant(id, places[0])
	default:
		r.event("a second document of %s", id)
		err = r.plant(id, r.alias+"-"+time.Now().UTC().AddDate(0, 0, -9).Format(time.DateOnly))
	}
	if err != nil {
		return err
	}
	_, err = r.judge(expected{safe: false, clean: false})
	return err
}

func (r *round) deleteForGood(id string) error {
	if err := r.erase(r.ctx, id); err != nil {
		return err
	}
	r.erased = true
	r.verb = []string{"migrate"}
	if said := r.calm(); said.Missing != 1 {
		r.fail("Sentry deleted one node, and %d are missing", said.Missing)
	}
	_, err := r.judge(expected{safe: false, clean: true}) // verify cannot know who deleted it
	return err
}

// plant writes a document that no row explains.
func (r *round) plant(id, index string) error {
	return r.ask(r.ctx, http.MethodPut, "/"+index+"/_doc/"+id+"?refresh=true",
		map[string]string{"data": "eJyrrgUAAXUA+Q==", "timestamp": "2020-01-01T00:00:00+00:00"}, nil)
}
