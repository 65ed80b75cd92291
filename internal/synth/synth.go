// Package synth makes realistic rows of Sentry's nodestore_node from a seed:
// the sizes, the compressibility and the oddities of production, without
// anybody's events. The demo, the tests and the benchmark fill tables with it;
// every readable row carries the inner bytes that Sentry must get back, so that
// promise 3 (byte for byte) can be checked against something that never went
// through the tool.
package synth

import (
	"iter"
	"math"
	"math/rand/v2"
	"time"
)

// Kind is what is particular about a row.
type Kind uint8

// The kinds. Where nothing else is said the id is 32 hex digits and the
// payload an error event in canonical base64.
const (
	ErrorEvent      Kind = iota // exception, stack trace, breadcrumbs
	Transaction                 // spans
	Native                      // a crash with hundreds of debug images
	Occurrence                  // issue platform, id "i-o:" and 32 hex digits
	WithUnprocessed             // the sub-key "unprocessed" after the event
	OldID                       // 24 characters of base64 with "/", "+" and "=" as id
	Wrapped                     // base64 with a newline after every 76 characters, as PostgreSQL's encode() gives
	Junk                        // other base64 that only a lenient decoder such as Python's reads
	Midnight                    // exactly on a day's first or last microsecond
	Pickle                      // Python pickle instead of JSON, protocol 0 or 2
	Empty                       // the empty string
	CorruptBase64               // cut inside a group of four characters
	CorruptZlib                 // bad header, truncated stream, or wrong checksum
	kindCount
)

var kindNames = [kindCount]string{
	"error", "transaction", "native", "occurrence", "with_unprocessed", "old_id", "wrapped",
	"junk", "midnight", "pickle", "empty", "corrupt_base64", "corrupt_zlib",
}

// String is the kind's name in summaries.
func (k Kind) String() string { return kindNames[k] }

// Readable says whether Sentry on OpenSearch can read rows of this kind. It
// cannot read pickles, only the Django backend can.
func (k Kind) Readable() bool { return k < Pickle }

// shape is the kind whose inner bytes a row of kind k has.
func (k Kind) shape() Kind {
	switch k {
	case Transaction, Native, Occurrence, WithUnprocessed, Pickle:
		return k
	default:
		return ErrorEvent
	}
}

// Row is one row of nodestore_node.
type Row struct {
	ID        string
	Data      string    // the column's text
	Timestamp time.Time // UTC, whole microseconds
	Kind      Kind
	Inner     []byte // what Sentry's reader must get, nil if it cannot read the row; shared between rows, so only to be read
}

// Mix is the share of each kind, relative to the others. The zero Mix means
// Everything.
type Mix [kindCount]int

// Everything has all kinds: per thousand rows 30 that nobody can read on
// OpenSearch, and 60 that only a lenient decoder can.
func Everything() Mix {
	m := Clean()
	m[Wrapped], m[Junk] = 30, 30
	m[Pickle], m[Empty], m[CorruptBase64], m[CorruptZlib] = 15, 5, 5, 5
	return m
}

// Clean has only rows that are readable and canonical, for the benchmark.
func Clean() Mix {
	return Mix{
		ErrorEvent: 500, Transaction: 260, Native: 40, Occurrence: 40,
		WithUnprocessed: 30, OldID: 30, Midnight: 10,
	}
}

func (m Mix) draw(rng *rand.Rand) Kind {
	total := 0
	for _, weight := range m {
		total += weight
	}
	left := rng.IntN(total)
	for kind, weight := range m {
		if left -= weight; left < 0 {
			return Kind(kind)
		}
	}
	return ErrorEvent
}

// Options say which rows to make. The same options make the same rows.
type Options struct {
	Seed        uint64
	Rows        int       // a row's Data has about 9.5 kB on average
	From, Until time.Time // half-open; without a midnight in it, rows of kind Midnight lie anywhere
	Mix         Mix

	// Distinct is how many payloads are made and compressed for each of the
	// six shapes of event; rows share them under ids of their own. Compressing
	// is nearly all the work: sharing gives gigabytes a second instead of about
	// 20 MB/s, for some 50 kB of memory per payload and 6 MB per shape for the huge
	// ones. Zero gives every row its own payload.
	Distinct int
}

// Rows makes the rows, in the order of their timestamps give or take some
// seconds (those of kind Midnight: a day), busier by day than by night.
// Memory does not grow with the number of rows.
func Rows(o Options) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		g := newGenerator(o)
		for i := range o.Rows {
			if !yield(g.row(i)) {
				return
			}
		}
	}
}

type generator struct {
	Options
	rng      *rand.Rand
	payloads *payloads
}

func newGenerator(o Options) *generator {
	if o.Mix == (Mix{}) {
		o.Mix = Everything()
	}
	return &generator{
		Options:  o,
		rng:      rand.New(rand.NewPCG(o.Seed, 0)),
		payloads: newPayloads(o.Seed, o.Distinct),
	}
}

func (g *generator) row(i int) Row {
	kind := g.Mix.draw(g.rng)
	p := g.payloads.get(kind.shape(), i, g.rng.Float64())
	row := Row{
		ID:        newID(g.rng, kind),
		Data:      encode(g.rng, kind, p),
		Timestamp: g.timestamp(i),
		Kind:      kind,
	}
	if kind == Midnight {
		row.Timestamp = g.midnight(row.Timestamp)
	}
	if kind.Readable() {
		row.Inner = p.inner
	}
	return row
}

// timestamp spreads the rows over the range with 60 % more than the mean at
// the busiest time of a day and 60 % less at the quietest.
func (g *generator) timestamp(i int) time.Time {
	span := g.Until.Sub(g.From)
	at := (float64(i) + g.rng.Float64()) / float64(g.Rows)
	if days := math.Floor(span.Hours() / 24); days >= 1 {
		turns := 2 * math.Pi * days
		at += 0.6 * math.Sin(turns*at) / turns
	}
	late := time.Duration(g.rng.Int64N(int64(4*time.Second))) - 2*time.Second
	t := g.From.Add(time.Duration(at*float64(span)) + late)
	if t.Before(g.From) {
		t = g.From
	}
	if !t.Before(g.Until) {
		t = g.Until.Add(-time.Microsecond)
	}
	return t.UTC().Truncate(time.Microsecond)
}

// midnight moves t to the first or last microsecond of its day, whichever
// chance and the range allow.
func (g *generator) midnight(t time.Time) time.Time {
	const day = 24 * time.Hour
	first := t.Truncate(day)
	edges := [2]time.Time{first, first.Add(day - time.Microsecond)}
	chosen := g.rng.IntN(2)
	for _, edge := range [2]time.Time{edges[chosen], edges[1-chosen]} {
		if !edge.Before(g.From) && edge.Before(g.Until) {
			return edge
		}
	}
	return t
}
