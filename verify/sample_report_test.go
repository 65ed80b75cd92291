package verify_test

import (
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// hostile is what somebody might put where the report shows a name.
const hostile = `<img src=https://example.invalid/x onerror=console.error(1)><script>console.error(2)</script>`

// sampleReport is a report of so many days, with findings and hostile names.
func sampleReport(days int) *verify.Report {
	r := &verify.Report{
		Type: "report", Schema: 1, Level: verify.Sample, Complete: true, Started: start, Finished: start.Add(time.Hour), Seconds: 3600.5,
		Verdict: verify.Verdict{Sentence: "Something is wrong: 1 finding of 198,412,003 nodes: 1 missing.", Because: []string{"1 finding open"}},
		Command: []string{"nodestore-migrate", "verify", "--alias", hostile},
		Source:  node.Origin{Database: hostile, Table: "public.nodestore_node"}, Target: checkpoint.Target{Cluster: "u-u-i-d", Alias: hostile, Index: "sentry-{date}"},
		Versions: map[string]string{"opensearch": "2.19.4", "postgresql": hostile}, Settings: map[string]string{"seed": "1"},
		SizeLimits: []int64{4096, 16384, 65536, 262144},
		Rejected:   verify.RejectedReport{Total: 2, Open: 2, Accepted: []node.Reason{}, ByReason: map[node.Reason]int64{"pickle": 2}, File: hostile},
		Findings: verify.FindingsReport{
			Total: 1, Counts: map[verify.Class]int64{verify.Missing: 1}, File: hostile,
			Examples: []verify.Finding{{Class: verify.Missing, ID: hostile, Day: "2025-03-02", Compared: "2025-03-02", Known: hostile, Indices: []string{hostile}}},
		},
		SwitchedAt: "2025-06-01T00:00:00+00:00", MigratedTo: "2025-06-02T00:00:00+00:00", Earlier: 193,
		Retired:   verify.RetiredReport{Rows: 20, Days: 2, Open: 5, GiveUp: 5},
		Lost:      []verify.LostDay{{Day: "2025-03-04", Index: hostile, Rows: 100}},
		NextSteps: []string{"Look at " + hostile},
	}
	for i := range days {
		day := start.AddDate(0, 0, i)
		d := verify.Day{Day: day.Format(time.DateOnly), Source: int64(1_000_000 + 50_000*(i%7)), SourceBytes: 9_000_000_000, TargetBytes: 7_000_000_000}
		d.Documents, d.Sizes = d.Source, [5]int64{200_000, 500_000, 250_000, 49_000, 1_000}
		d.Present, d.Codec, d.Shards, d.Compact = d.Source, "best_compression", 1, i%9 > 0
		d.Sample.Bytes = d.SourceBytes / int64(20+i%5)
		copied := node.DigestOf([]byte(d.Day), 1, []byte("text"))
		d.Copied = &copied
		switch i {
		case 1:
			d.Present, d.Documents = d.Present-1, d.Documents-1 // one row in a million has no document
			d.Findings = map[verify.Class]int64{verify.Missing: 1}
		case days - 2:
			d.Documents += 3
			d.Findings = map[verify.Class]int64{verify.Extra: 3}
		}
		r.Days = append(r.Days, d)
	}
	r.Storage = verify.Storage{Days: days, Compact: days - days/9 - 1, Shards: days, Codecs: []string{"best_compression"}, BytesPerByte: 0.77}
	r.Total.Source, r.Total.Sizes = 34_000_000, [5]int64{6e6, 15e6, 75e5, 147e4, 3e4}
	bound := verify.NewBound(0.95, 198_412_003, 100_000, 0)
	r.Bound = &bound
	for i := range 60 {
		r.Throughput = append(r.Throughput, verify.Point{Seconds: float64(60 * i), Nodes: int64(i*3_000_000 + i%5*90_000)})
	}
	return r
}
