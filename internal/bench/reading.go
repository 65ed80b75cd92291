package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nodestore-migrate/nodestore-migrate/internal/synth"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

const (
	readDays     = 90 // behind the alias, as many as Sentry keeps by default
	readSegments = 30 // of each shard, before: what 3.7 GB in one shard were loaded to
	readDocs     = 20 // of each of these
	reads        = 2000
	wantedFaster = 2 // times, at the 99th percentile
)

// measureReading measures Sentry's two requests for an event behind the alias of as many
// days as Sentry keeps: of days as they are loaded, and compact, of one and of three shards.
func (b *bed) measureReading(ctx context.Context, rounds int) (*part, error) {
	p := &part{Name: "Reading as Sentry", Rows: readDays * readSegments * readDocs, Days: readDays, columns: []column{
		{"median ms", "%.2f", func(s sample) float64 { return s.MedianSeconds * 1e3 }},
		{"99th percentile ms", "%.2f", func(s sample) float64 { return s.P99Seconds * 1e3 }},
		{"segments a day", "%.0f", func(s sample) float64 { return s.Segments }},
	}}
	for _, shards := range []int{3, 1} {
		ids, size, err := b.load(ctx, shards)
		p.Bytes = size
		if err != nil {
			return nil, err
		}
		loaded := &series{Name: fmt.Sprintf("%d a day, loaded", shards), measure: b.reading(ids)}
		compact := &series{Name: fmt.Sprintf("%d a day, compact", shards), measure: b.reading(ids)}
		if err := inRounds(ctx, rounds, []*series{loaded}); err != nil {
			return nil, err
		}
		say("Merging ...")
		for _, path := range []string{"/_forcemerge?max_num_segments=1", "/_refresh"} {
			if _, err := b.request(ctx, http.DefaultClient, call{method: http.MethodPost, path: "/" + alias + path}); err != nil {
				return nil, err
			}
		}
		if err := inRounds(ctx, rounds, []*series{compact}); err != nil {
			return nil, err
		}
		p.Series = append(p.Series, loaded, compact)
	}
	before, after := p.Series[0], p.Series[3]
	p99 := func(s *series) float64 { return s.median(func(s sample) float64 { return s.P99Seconds }) }
	p.Verdicts = []verdict{atLeast("99th percentile, three shards loaded, times that of one compact", p99(before)/p99(after), wantedFaster)}
	return p, nil
}

// load fills the days, so that each of their shards has many segments, and returns the
// ids, and the bytes of their payloads.
func (b *bed) load(ctx context.Context, shards int) (ids []string, size int64, err error) {
	say(fmt.Sprintf("Loading %d days of %d shards ...", readDays, shards))
	if err := b.dropIndices(ctx); err != nil {
		return nil, 0, err
	}
	rows, stop := iter.Pull(synth.Rows(synth.Options{
		Seed: 1, Rows: readDays * readSegments * readDocs, From: firstDay(), Until: firstDay().AddDate(0, 0, readDays), Mix: synth.Clean(), Distinct: 20,
	}))
	defer stop()
	check := node.NewChecker(node.Quick)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(b.senders)
	for _, day := range newestFirst(readDays) {
		bodies := make([][]byte, readSegments)
		for i := range bodies {
			batch := target.NewBatch(migrate.DefaultBatchBytes)
			batch.Reset(target.Versioned)
			for range readDocs {
				row, ok := rows()
				if !ok {
					return nil, 0, errors.New("load days: there are too few rows")
				}
				batch.Append(node.Node{ID: []byte(row.ID), Data: []byte(row.Data), Micros: day.Start()}, check)
				ids = append(ids, row.ID)
				size += int64(len(row.Data))
			}
			bodies[i] = slices.Clone(batch.Body())
		}
		group.Go(func() error { return b.loadDay(groupCtx, b.api.Backend().IndexOf(day), shards, bodies) })
	}
	return ids, size, group.Wait()
}

// loadDay makes a segment of each body, and keeps OpenSearch from merging so small ones,
// as it merges no large ones.
func (b *bed) loadDay(ctx context.Context, index string, shards int, bodies [][]byte) error {
	settings := fmt.Sprintf(`{"settings": {"number_of_shards": %d, "number_of_replicas": 0, "refresh_interval": "-1",
		"merge.policy.segments_per_tier": 1000, "merge.policy.floor_segment": "1b"}}`, shards)
	if _, err := b.request(ctx, http.DefaultClient, call{http.MethodPut, "/" + index, bytes.NewReader([]byte(settings))}); err != nil {
		return err
	}
	for _, content := range bodies {
		if _, err := b.request(ctx, http.DefaultClient, call{http.MethodPost, "/" + index + "/_bulk?refresh=true&filter_path=errors", bytes.NewReader(content)}); err != nil {
			return err
		}
	}
	return nil
}

// reading reads random events, one after the other.
func (b *bed) reading(ids []string) func(context.Context) (sample, error) {
	return func(ctx context.Context) (s sample, err error) {
		random := rand.New(rand.NewPCG(1, uint64(len(ids))))
		took := make([]time.Duration, 0, reads)
		for i := range reads + reads/10 { // the first ones warm up
			began := time.Now()
			sight, err := b.api.Read(ctx, ids[random.IntN(len(ids))])
			if err != nil {
				return s, err
			}
			if sight.Copies != 1 || len(sight.Data) == 0 {
				return s, fmt.Errorf("read an event: it has %d copies of %d bytes", sight.Copies, len(sight.Data))
			}
			if i >= reads/10 {
				took = append(took, time.Since(began))
				s.Seconds += took[len(took)-1].Seconds()
			}
		}
		slices.Sort(took)
		s.MedianSeconds, s.P99Seconds = took[reads/2].Seconds(), took[reads*99/100].Seconds()
		s.Segments, err = b.segmentsADay(ctx)
		return s, err
	}
}

func (b *bed) segmentsADay(ctx context.Context) (float64, error) {
	list, err := b.request(ctx, http.DefaultClient, call{method: http.MethodGet, path: "/_cat/segments/" + alias + "?h=segment"})
	return float64(bytes.Count(list, []byte("\n"))) / readDays, err
}
