package main

import (
	"compress/zlib"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	// largeBytes is the data of one very large row.
	largeBytes = 60e6
	// together is how many rows have one timestamp.
	together = 10_000
	// largeTimes is how many times its data may be resident for a very large row,
	// beside what any other table takes.
	largeTimes = 5
)

// measureMemory measures the peak memory with tables of odd shapes: one row that is very
// large, many rows of one moment, and many rows that are committed late.
func (b *bed) measureMemory(ctx context.Context, o options) (*part, error) {
	conn, err := pgx.Connect(ctx, b.source)
	if err != nil {
		return nil, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m := &memory{bed: b, conn: conn, part: &part{Name: "Memory", Days: len(b.days), columns: []column{
		{"rows", "%.0f", func(s sample) float64 { return float64(s.nodes) }},
		{"s", "%.1f", sample.seconds},
		{"CPU s", "%.2f", sample.cpuSeconds},
		{"peak MiB", "%.0f", sample.peakMebibytes},
	}}}
	if err := m.measureLarge(ctx); err != nil {
		return nil, err
	}
	if err := m.measureTogether(ctx); err != nil {
		return nil, err
	}
	return m.part, m.measureLate(ctx, o.rows/2)
}

type memory struct {
	*bed
	conn *pgx.Conn
	part *part
}

// table fills a table anew with a few small rows of all days.
func (m *memory) table(ctx context.Context) (filling, error) {
	if err := m.dropIndices(ctx); err != nil {
		return filling{}, err
	}
	of, err := m.fillSmall(ctx, m.conn, filling{table: table + "_memory", days: m.days, rows: 1000})
	m.part.Rows, m.part.Bytes = m.part.Rows+of.rows, m.part.Bytes+of.bytes
	return of, err
}

// take measures once: what is wanted is the highest, and it hardly differs.
func (m *memory) take(ctx context.Context, name string, most float64, measure func(context.Context) (sample, error)) error {
	s := &series{Name: name, measure: measure}
	if err := inRounds(ctx, 1, []*series{s}); err != nil {
		return err
	}
	m.part.Series = append(m.part.Series, s)
	m.part.Verdicts = append(m.part.Verdicts, atMost("peak memory in MiB, "+name, s.median(sample.peakMebibytes), most))
	return nil
}

func (m *memory) measureLarge(ctx context.Context) error {
	of, err := m.table(ctx)
	if err != nil {
		return err
	}
	var text strings.Builder
	encoder := base64.NewEncoder(base64.StdEncoding, &text)
	w, err := zlib.NewWriterLevel(encoder, zlib.HuffmanOnly)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	line := make([]byte, 1<<10)
	if _, err := w.Write([]byte(`{"large":"`)); err != nil {
		return err
	}
	for text.Len() < largeBytes {
		for i := range line {
			line[i] = byte('a' + random.IntN(26))
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	if _, err := m.conn.Exec(ctx, "insert into "+of.table+" values ('large', $1, $2)", text.String(), firstDay()); err != nil {
		return fmt.Errorf("insert a large row: %w", err)
	}
	most := ownMebibytes + largeTimes*float64(text.Len())/(1<<20)
	return m.both(ctx, of, fmt.Sprintf("a row of %d MB", text.Len()/1e6), most)
}

// both measures migrate and verify of a table.
func (m *memory) both(ctx context.Context, of filling, shape string, most float64) error {
	j, err := m.newJob(of.table)
	if err != nil {
		return err
	}
	if err := m.take(ctx, "migrate, "+shape, most, func(ctx context.Context) (sample, error) { return j.copy(ctx) }); err != nil {
		return err
	}
	return m.take(ctx, "verify --level full, "+shape, most, func(ctx context.Context) (s sample, err error) {
		var got struct {
			Nodes    int64
			Findings struct{ Total int64 }
		}
		s, err = j.tool(ctx, &got, "verify", "--target", j.target, "--level", "full")
		if err == nil && got.Findings.Total > 0 {
			err = fmt.Errorf("%d findings", got.Findings.Total)
		}
		s.nodes = got.Nodes
		return s, err
	})
}

func (m *memory) measureTogether(ctx context.Context) error {
	of, err := m.table(ctx)
	if err != nil {
		return err
	}
	_, err = m.conn.Exec(ctx, `insert into `+of.table+` select md5('together' || i), (select "data" from `+of.table+` limit 1), $1 from generate_series(1, $2::int) i`, firstDay(), together)
	if err != nil {
		return fmt.Errorf("insert rows of one moment: %w", err)
	}
	return m.both(ctx, of, fmt.Sprintf("%d rows of one moment", together), ownMebibytes)
}

func (m *memory) measureLate(ctx context.Context, rows int) error {
	of, err := m.table(ctx)
	if err != nil {
		return err
	}
	j, err := m.newJob(of.table)
	if err != nil {
		return err
	}
	if _, err := j.copy(ctx); err != nil {
		return err
	}
	_, err = m.conn.Exec(ctx, `insert into `+of.table+` select md5('late' || i), (select "data" from `+of.table+` limit 1),
		now() - interval '1 minute' - interval '1 millisecond' * i from generate_series(1, $1::int) i`, rows)
	if err != nil {
		return fmt.Errorf("insert late rows: %w", err)
	}
	return m.take(ctx, fmt.Sprintf("migrate, %d rows that are committed late", rows), ownMebibytes, func(ctx context.Context) (sample, error) { return j.copy(ctx) })
}
