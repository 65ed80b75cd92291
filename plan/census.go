package plan

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// Census is what a sample of nodes looks like. The sample is rows that follow
// instants of time, which are spread over the days by their estimated rows: it
// reads a thousand rows, and takes no part of the table for all of it.
type Census struct {
	Nodes       int                 `json:"nodes"`
	Bytes       int64               `json:"bytes"`                 // of data, as stored
	Median      int                 `json:"median_bytes"`          // of one node's data
	P90         int                 `json:"p90_bytes"`             // likewise
	Largest     int                 `json:"largest_bytes"`         // likewise
	OverKeyword int                 `json:"refused_by_doc_values"` // what a mapping with doc values would refuse
	Recoded     int                 `json:"recoded"`               // readable, but not canonical base64
	Rejected    map[node.Reason]int `json:"rejected_by_reason"`    // what Sentry on OpenSearch could not read, by reason
	Undersized  bool                `json:"undersized,omitempty"`  // fewer nodes than were asked for
}

const (
	censusInstants = 40
	censusRows     = 25 // after each instant
	// maxKeyword is Lucene's limit of a term, in bytes.
	maxKeyword = 32766
)

// census takes a sample of the source.
type census struct{ *run }

func (s *census) check(ctx context.Context) {
	if len(s.plan.Days) == 0 {
		return
	}
	if !s.source.Relation().TimestampIndexed {
		s.unknown(Source, "census", "no sample without an index on timestamp", "")
		return
	}
	found, err := s.sample(ctx)
	if err != nil {
		s.unseen(Source, "census", err, "no node was looked at")
		return
	}
	s.plan.Census = &found
	s.tell(found)
}

func (s *census) tell(c Census) {
	text := fmt.Sprintf("of %d nodes: median %s, a tenth over %s, largest %s, %d over 32,766 bytes, %d not canonical",
		c.Nodes, amount.Size(int64(c.Median)), amount.Size(int64(c.P90)), amount.Size(int64(c.Largest)), c.OverKeyword, c.Recoded)
	if len(c.Rejected) == 0 {
		s.ok(Source, "census", text)
		return
	}
	total, reasons := 0, []string{}
	for _, reason := range slices.Sorted(maps.Keys(c.Rejected)) {
		total += c.Rejected[reason]
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, c.Rejected[reason]))
	}
	s.warn(Source, "census", fmt.Sprintf("%s; %d would be rejected (%s)", text, total, strings.Join(reasons, ", ")),
		"Sentry cannot read these on OpenSearch: migrate lists each with its reason; keep the old table if they matter")
}

func (s *census) sample(ctx context.Context) (Census, error) {
	c := Census{Rejected: map[node.Reason]int{}}
	check := node.NewChecker(node.Full)
	var sizes []int
	var text []byte
	for _, span := range s.instants() {
		err := s.source.Sample(ctx, span, censusRows, func(n node.Node) error {
			var checked node.Verdict
			text, checked = check.Append(text[:0], n.Data)
			c.count(n, checked)
			sizes = append(sizes, len(n.Data))
			return nil
		})
		if err != nil {
			return Census{}, err
		}
	}
	slices.Sort(sizes)
	if n := len(sizes); n > 0 {
		c.Median, c.P90, c.Largest = sizes[n/2], sizes[n*9/10], sizes[n-1]
	}
	c.Undersized = len(sizes) < censusInstants*censusRows
	return c, nil
}

func (c *Census) count(n node.Node, checked node.Verdict) {
	c.Nodes++
	c.Bytes += int64(len(n.Data))
	if len(n.Data) > maxKeyword {
		c.OverKeyword++
	}
	if checked.Recoded {
		c.Recoded++
	}
	if checked.Reason != node.Accepted {
		c.Rejected[checked.Reason]++
	}
}

// instants spreads the sample over the days by their rows: each instant stands
// for the same number of them, and those of one day are evenly apart.
func (s *census) instants() (spans []source.Slice) {
	total := int64(0)
	for _, d := range s.plan.Days {
		total += max(d.Rows, 1)
	}
	before := int64(0)
	for _, d := range s.plan.Days {
		rows := max(d.Rows, 1)
		first, end := before*censusInstants/total, (before+rows)*censusInstants/total
		before += rows
		dayStart, dayEnd := d.planned.Start(), min(d.planned.End(), max(s.now, d.planned.Start()+1))
		for i := range end - first {
			from := dayStart + (dayEnd-dayStart)*i/(end-first)
			spans = append(spans, source.Slice{From: from, To: d.planned.End()})
		}
	}
	return spans
}
