package verify

import (
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/evidence"
)

// Compared counts nodes whose payloads were compared.
type Compared struct {
	Population int64 `json:"population"` // nodes that they stand for
	Nodes      int64 `json:"nodes"`
	Bytes      int64 `json:"bytes"` // of data at the source
	Defects    int64 `json:"defects"`
	AsSentry   int64 `json:"as_sentry"` // of these, read with Sentry's own two requests
	// Digest is of the documents that were right, where every payload is compared.
	Digest node.Digest `json:"digest,omitzero"`
}

func (c *Compared) add(other Compared) {
	c.Population += other.Population
	c.Nodes += other.Nodes
	c.Bytes += other.Bytes
	c.Defects += other.Defects
	c.AsSentry += other.AsSentry
	c.Digest.Add(other.Digest)
}

// stratum is why a node's payload is compared.
type stratum uint8

const (
	ofNone    stratum = iota // its id is suspect, not its payload
	ofSample                 // it was drawn
	ofCertain                // it belongs to a certainty stratum
	ofAll                    // every payload is compared
)

// Day is what was found out of one day: a row of the report's table, and what
// the checkpoint keeps.
type Day struct {
	Day         string             `json:"day"`
	Index       string             `json:"index"`
	Ours        bool               `json:"ours"`                              // this tool alone filled the index
	Source      int64              `json:"rows"`                              // at the source
	SourceBytes int64              `json:"source_bytes"`                      // of data; 0 where it is not known
	Moments     uint64             `json:"timestamp_sum_microseconds,string"` // of the rows, in µs since 1970, modulo 2^64
	Rejected    int64              `json:"rejected"`                          // rows that were listed as not copied
	Present     int64              `json:"present"`                           // rows with a document in the day's index
	PresentIDs  node.Sum           `json:"present_ids,omitzero"`              // digest of their ids and timestamps
	Documents   int64              `json:"documents"`                         // in the day's index
	TargetBytes int64              `json:"target_bytes"`                      // of its primary shards
	Native      int64              `json:"native"`                            // documents without a row where Sentry writes itself
	Vanished    int64              `json:"vanished"`                          // deleted at the source while it was compared
	Pending     int64              `json:"pending"`                           // rewritten since the migration's last pass
	Sizes       [sizeClasses]int64 `json:"rows_by_size"`                      // rows by size class
	Sample      Compared           `json:"sample"`
	Certain     Compared           `json:"certain"`
	All         Compared           `json:"all"`
	Findings    map[Class]int64    `json:"findings,omitempty"` // set by the report, from the file of findings
	Codec       string             `json:"codec,omitempty"`    // of the index's stored fields
	Shards      int                `json:"shards,omitempty"`   // primary shards of the index
	Compact     bool               `json:"compact,omitempty"`  // the migration has merged it to one segment a shard
	// Copied is the digest of what the migration wrote, if nothing changed it since.
	Copied *node.Digest `json:"copied,omitempty"`
	// Print is of the index, from before it was compared.
	Print *evidence.Fingerprint `json:"fingerprint,omitempty"`
	// scratch takes what is counted for no stratum.
	scratch Compared
}

func (d *Day) stratum(s stratum) *Compared {
	switch s {
	case ofSample:
		return &d.Sample
	case ofCertain:
		return &d.Certain
	case ofAll:
		return &d.All
	}
	return &d.scratch
}

// add adds what was counted of another part of the same day, or of another day
// for a total. Findings are counted apart.
func (d *Day) add(other *Day) {
	d.Source += other.Source
	d.SourceBytes += other.SourceBytes
	d.Moments += other.Moments
	d.Rejected += other.Rejected
	d.Present += other.Present
	d.PresentIDs.Add(other.PresentIDs)
	d.Documents += other.Documents
	d.TargetBytes += other.TargetBytes
	d.Native += other.Native
	d.Vanished += other.Vanished
	d.Pending += other.Pending
	for i, n := range other.Sizes {
		d.Sizes[i] += n
	}
	d.Sample.add(other.Sample)
	d.Certain.add(other.Certain)
	d.All.add(other.All)
}

// acquit counts a suspect that is not blamed. What was not compared stands for
// nothing.
func (d *Day) acquit(s stratum, o outcome) {
	switch o {
	case vanished:
		d.Vanished++
	case pending:
		d.Pending++
	default:
		return
	}
	d.stratum(s).add(Compared{Population: -1, Nodes: -1})
}

// drawnDefects counts what was found in payloads that were drawn.
func (d *Day) drawnDefects() int64 { return d.Sample.Defects + d.Certain.Defects }
