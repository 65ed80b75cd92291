package node_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

var depths = map[string]node.Depth{"quick": node.Quick, "full": node.Full}

// events returns inner bytes as Sentry writes them, about size bytes of JSON
// lines with the frames, hashes and repetitions of a stack trace.
func events(rng *rand.Rand, size int) []byte {
	var out []byte
	out = fmt.Appendf(out, `{"event_id":"%016x%016x","platform":"python","nan":NaN,"frames":[`, rng.Uint64(), rng.Uint64())
	for len(out) < size {
		out = fmt.Appendf(out, `{"function":"f_%d","module":"app.views.m%d","lineno":%d,"in_app":true,"vars":{"self":"<object at 0x%x>"}},`,
			rng.IntN(40), rng.IntN(20), rng.IntN(900), rng.Uint64())
	}
	return append(out, "{}]}\nprocessing\n{\"sample\":Infinity}"...)
}

func deflated(t testing.TB, inner []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(inner); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encoded(stream []byte) []byte { return base64.StdEncoding.AppendEncode(nil, stream) }

// wrap breaks text into lines as PostgreSQL's encode(data, 'base64') does.
func wrap(text []byte) []byte {
	var lines [][]byte
	for len(text) > 76 {
		lines, text = append(lines, text[:76]), text[76:]
	}
	return bytes.Join(append(lines, text), []byte("\n"))
}

// Only Full sees what is wrong behind the first inflated byte.
func TestAppendDepth(t *testing.T) {
	t.Parallel()
	stream := deflated(t, events(rand.New(rand.NewPCG(3, 4)), 9000), 6)
	trailing := append(bytes.Clone(stream), "trailing"...)
	badSum := bytes.Clone(stream)
	badSum[len(badSum)-1] ^= 1
	tests := []struct {
		name   string
		stream []byte
		full   node.Verdict
		out    []byte // of Full
	}{
		{"trailing bytes", trailing, node.Verdict{Recoded: true}, encoded(stream)},
		{"wrong checksum", badSum, node.Verdict{Reason: node.CorruptZlib}, nil},
		{"cut", stream[:len(stream)-5], node.Verdict{Reason: node.CorruptZlib}, nil},
	}
	quick, full := node.NewChecker(node.Quick), node.NewChecker(node.Full)
	for _, test := range tests {
		data := encoded(test.stream)
		if out, verdict := quick.Append(nil, data); verdict != (node.Verdict{}) || !bytes.Equal(out, data) {
			t.Errorf("%s: quick says %+v, want it accepted", test.name, verdict)
		}
		if out, verdict := full.Append(nil, data); verdict != test.full || !bytes.Equal(out, test.out) {
			t.Errorf("%s: full says %+v, %q", test.name, verdict, out)
		}
		if out, verdict := full.Append(nil, test.stream); verdict.Reason != test.full.Reason || !bytes.Equal(out, test.out) {
			t.Errorf("%s in bytea: full says %+v, %q", test.name, verdict, out)
		}
	}
}

// What Full accepts, the reader gets byte for byte; what it refuses, it refuses
// for the reason that the vector has.
func TestAppendAsPython(t *testing.T) {
	t.Parallel()
	full, quick := node.NewChecker(node.Full), node.NewChecker(node.Quick)
	for _, p := range payloads(t) {
		row := p.row()
		out, verdict := full.Append([]byte("kept"), row)
		out, ok := bytes.CutPrefix(out, []byte("kept"))
		if verdict.Reason != p.Reason || !ok {
			t.Errorf("%q: reason %q, want %q; dst is %q", row, verdict.Reason, p.Reason, out)
		}
		if verdict.Reason != node.Accepted && len(out) > 0 || verdict.Recoded == (verdict.Reason != node.Accepted || bytes.Equal(out, row)) {
			t.Errorf("%q: recoded is %v, out is %q", row, verdict.Recoded, out)
		}
		inner := wantPayload(t, p, out)
		// Quick sees less, but what it refuses Full refuses too.
		glanceOut, glance := quick.Append(nil, row)
		if glance.Reason != node.Accepted && verdict.Reason == node.Accepted {
			t.Errorf("%q: quick says %q, full accepts", row, glance.Reason)
		}
		if !strings.HasPrefix(string(p.Reason), "corrupt_") && glance.Reason != p.Reason {
			t.Errorf("%q: quick says %q, want %q", row, glance.Reason, p.Reason)
		}
		if verdict.Reason == node.Accepted && glance.Reason == node.Accepted {
			wantInner(t, glanceOut, inner)
		}
	}
}

// wantPayload returns the inner bytes of a document, if there is one.
func wantPayload(t *testing.T, p payload, document []byte) (inner []byte) {
	t.Helper()
	if len(document) == 0 {
		return nil
	}
	inner, err := node.Decode(nil, document)
	if err != nil || !p.holds(inner) {
		t.Errorf("%q: inner bytes %q, %v, want others", p.row(), inner, err)
	}
	return inner
}

func wantInner(t *testing.T, text, inner []byte) {
	t.Helper()
	if _, err := base64.StdEncoding.Strict().DecodeString(string(text)); err != nil {
		t.Logf("%q is not strictly canonical: %v", text, err)
	}
	got, err := node.Decode(nil, text)
	if err != nil || !bytes.Equal(got, inner) {
		t.Errorf("%q: inner bytes %q, %v, want %q", text, got, err, inner)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	stream := deflated(t, events(rand.New(rand.NewPCG(5, 6)), 40_000), 6)
	text := encoded(stream)
	tests := map[string][]byte{"canonical": text, "wrapped": wrap(text), "bytea": stream}
	for depthName, depth := range depths {
		checker := node.NewChecker(depth)
		dst := make([]byte, 0, 2*len(text))
		for name, data := range tests {
			checker.Append(dst, data)
			if n := testing.AllocsPerRun(100, func() { checker.Append(dst, data) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", depthName, name, n)
			}
		}
	}
}

func BenchmarkCheckQuick(b *testing.B) { benchmarkCheck(b, node.Quick) }
func BenchmarkCheckFull(b *testing.B)  { benchmarkCheck(b, node.Full) }

// benchmarkCheck runs over 300 rows of 3 to 30 kB of text, too many for the
// inner caches.
func benchmarkCheck(b *testing.B, depth node.Depth) {
	rng := rand.New(rand.NewPCG(7, 8))
	var streams, texts, wrapped [][]byte
	for i := range 300 {
		stream := deflated(b, events(rng, 12_000+i*400), 6)
		text := encoded(stream)
		streams, texts, wrapped = append(streams, stream), append(texts, text), append(wrapped, wrap(text))
	}
	for _, form := range []struct {
		name string
		rows [][]byte
	}{{"canonical", texts}, {"wrapped", wrapped}, {"bytea", streams}} {
		b.Run(form.name, func(b *testing.B) {
			checker := node.NewChecker(depth)
			total := 0
			for _, row := range form.rows {
				total += len(row)
			}
			b.SetBytes(int64(total))
			b.ReportMetric(float64(total)/float64(len(form.rows)), "bytes/row")
			dst := make([]byte, 0, 8<<20)
			for b.Loop() {
				dst = dst[:0]
				for _, row := range form.rows {
					var verdict node.Verdict
					if dst, verdict = checker.Append(dst, row); verdict.Reason != node.Accepted {
						b.Fatal(verdict.Reason)
					}
				}
			}
		})
	}
}

// FuzzAppend holds for any bytes: what comes out of Append is canonical, goes
// through untouched the second time, and has the inner bytes that went in.
func FuzzAppend(f *testing.F) {
	for _, p := range payloads(f)[:900] {
		f.Add(p.row())
	}
	stream := deflated(f, events(rand.New(rand.NewPCG(9, 9)), 2000), 6)
	for _, data := range [][]byte{stream, encoded(stream), wrap(encoded(stream)), stream[:40], append(encoded(stream), '=')} {
		f.Add(data)
	}
	quick, full := node.NewChecker(node.Quick), node.NewChecker(node.Full)
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := []byte("kept")
		glanceOut, glance := quick.Append(kept, data)
		out, verdict := full.Append(kept, data)
		if verdict.Reason != node.Accepted {
			if string(out) != "kept" || verdict.Recoded {
				t.Errorf("%q: %+v, and dst is %q", data, verdict, out)
			}
			return
		}
		if glance.Reason != node.Accepted {
			t.Errorf("%q: quick says %q, full accepts", data, glance.Reason)
		}
		out, glanceOut = out[len(kept):], glanceOut[len(kept):]
		inner, err := node.Decode(nil, out)
		if err != nil {
			t.Fatalf("%q: %v in what full made of it", data, err)
		}
		wantInner(t, glanceOut, inner)
		if again, second := full.Append(nil, out); second != (node.Verdict{}) || !bytes.Equal(again, out) {
			t.Errorf("%q: %+v, %q the second time, %q the first", data, second, again, out)
		}
		if verdict.Recoded == bytes.Equal(out, data) {
			t.Errorf("%q: recoded is %v, out %q", data, verdict.Recoded, out)
		}
		if before, err := node.Decode(nil, data); err == nil && !bytes.Equal(before, inner) {
			t.Errorf("%q: inner bytes %q, %q before", data, inner, before)
		}
	})
}
