package target

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestVersionedFatesInAnyOrder(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.loading(target)
		write := func(want node.Fates, rows ...row) {
			t.Helper()
			got, err := target.Write(t.Context(), index, batchOf(t, Versioned, rows...))
			wantFates(t, got, err, want)
		}
		write(node.Fates{node.Stored: 2}, row{"a", noon, "a of noon"}, row{"b", noon, "b of noon"})
		write(node.Fates{node.AlreadyThere: 2}, row{"a", noon, "a of noon"}, row{"b", noon, "b of noon"})
		write(node.Fates{node.Stored: 2, node.Superseded: 1}, row{"a", noon - 1, "too late"}, row{"b", noon + 1, "newer by 1 µs"}, row{"c", noon, "new"})
		write(node.Fates{node.Superseded: 1, node.Stored: 1, node.AlreadyThere: 1},
			row{"d", noon + 2, "last"}, row{"d", noon + 1, "first"}, row{"d", noon + 2, "last"})
		for id, want := range map[string]string{"a": "a of noon", "b": "newer by 1 µs", "c": "new", "d": "last"} {
			if sight := b.mustRead(target, id); inner(t, sight.Data) != want {
				t.Errorf("%s is %q, want %q", id, inner(t, sight.Data), want)
			}
		}
	})
}

// oddIDs are ids that a JSON line, a URL or a careless comparison could break.
func oddIDs() []string {
	ids := []string{
		`"`, `\`, `\"`, `\u0041`, "a/b+c==", "+", "%", "%2F", "%00", "a?b#c&d", " ", " x ", "\n", "a\r\nb", "\t", "\x00", "\x7f", "<&>",
		"é", "\u2028", "日本", "😀", "\ufeff", "\ufffd", "i-o:0123456789abcdef0123456789abcdef", "AAAAAAAAAAAAAAAAAAAA+/==", ".", "..", "_", "-", "*", "a,b",
		`{"_id":"x"}`, "current version [7]", strings.Repeat("x", maxID), strings.Repeat("é", maxID/2),
	}
	return ids
}

func TestEveryIDIsKept(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.loading(target)
		rows := []row{}
		for _, id := range oddIDs() {
			rows = append(rows, row{id, noon, "inner of " + id})
		}
		got, err := target.Write(t.Context(), index, batchOf(t, Versioned, rows...))
		wantFates(t, got, err, node.Fates{node.Stored: int64(len(rows))})
		got, err = target.Write(t.Context(), index, batchOf(t, Versioned, rows...))
		wantFates(t, got, err, node.Fates{node.AlreadyThere: int64(len(rows))})
		got, err = target.Write(t.Context(), index, batchOf(t, CreateOnly, rows...))
		wantFates(t, got, err, node.Fates{node.AlreadyThere: int64(len(rows))})
		for i := range rows {
			rows[i].micros += 1000
		}
		got, err = target.Write(t.Context(), index, batchOf(t, CreateOnly, rows...))
		wantFates(t, got, err, node.Fates{node.Stored: int64(len(rows))})
		for _, r := range rows {
			if sight := b.mustRead(target, r.id); sight.Copies != 1 || sight.Data == nil || inner(t, sight.Data) != r.inner {
				t.Errorf("id %q: %d copies, %d bytes", r.id, sight.Copies, len(sight.Data))
			}
		}
	})
}

func TestUnusableIDsAreNotAppended(t *testing.T) {
	t.Parallel()
	batch := NewBatch(100)
	for _, id := range []string{"", strings.Repeat("x", maxID+1), "\xff", "a\xed\xa0\x80"} {
		verdict := batch.Append(node.Node{ID: []byte(id), Data: payload(t, "", 0)}, node.NewChecker(node.Quick))
		if verdict.Reason != ReasonID {
			t.Errorf("id %q: %+v", id, verdict)
		}
	}
	if verdict := batch.Append(node.Node{ID: []byte("a"), Data: []byte("!")}, node.NewChecker(node.Quick)); verdict.Reason == node.Accepted {
		t.Error("junk is accepted")
	}
	if batch.Len() != 0 || batch.Size() != 0 {
		t.Errorf("%d nodes, %d bytes", batch.Len(), batch.Size())
	}
}

func TestNullDataIsNotEmptyData(t *testing.T) {
	t.Parallel()
	batch := NewBatch(1000)
	for want, data := range map[node.Reason][]byte{node.NullData: nil, node.Empty: {}} {
		verdict := batch.Append(node.Node{ID: []byte("a"), Data: data}, node.NewChecker(node.Quick))
		if verdict.Reason != want || batch.Len() != 0 {
			t.Errorf("got %q, want %q", verdict.Reason, want)
		}
	}
}

func TestBatchDoesNotKeepTheBufferOfALargeNode(t *testing.T) {
	t.Parallel()
	batch := NewBatch(1 << 10)
	n := node.Node{ID: []byte("a"), Data: payload(t, "", 64<<10), Micros: noon}
	appendTo(t, batch, n)
	if batch.Size() > batch.Room(n) {
		t.Errorf("%d bytes, foreseen were %d", batch.Size(), batch.Room(n))
	}
	batch.Reset(CreateOnly)
	if cap(batch.body) > 2<<10 || batch.Len() != 0 || batch.Size() != 0 {
		t.Errorf("%d bytes are kept, %d nodes, %d bytes", cap(batch.body), batch.Len(), batch.Size())
	}
}

// TestRejectedItemLeavesItsNeighbours also shows what OpenSearch makes of the
// ends of time, and that its words reach the list without the payload.
func TestRejectedItemLeavesItsNeighbours(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.loading(target)
		times := map[string]int64{
			"before 1970": -1, "year 1": -62135596800000000, "year 1950": -631152000000001,
			"year 9999": 253402300799999999, "year 10000": 253402300800000000, "noon": noon,
		}
		rows := []row{}
		for id, micros := range times {
			rows = append(rows, row{id, micros, id})
		}
		for _, mode := range []Mode{Versioned, CreateOnly} {
			fates := node.Fates{node.Stored: 5, node.Rejected: 1}
			if mode == CreateOnly {
				fates = node.Fates{node.AlreadyThere: 5, node.Rejected: 1}
			}
			got, err := target.Write(t.Context(), index, batchOf(t, mode, rows...))
			wantFates(t, got, err, fates)
			rejected := got.Rejected[0]
			if rejected.ID != "year 10000" || rejected.Micros != times["year 10000"] || rejected.Reason != ReasonRefused ||
				!strings.Contains(rejected.Detail, "timestamp") {
				t.Errorf("rejected %+v", rejected)
			}
		}
		for _, r := range rows {
			sight := b.mustRead(target, r.id)
			if copies := map[bool]int{true: 1}[r.id != "year 10000"]; sight.Copies != copies {
				t.Errorf("%s: %d copies", r.id, sight.Copies)
			}
		}
	})
}

// TestRefusalOfTheWholeIndexRejectsNobody: what stands against each node alike
// is not a fault of a node, and goes away when somebody acts.
func TestRefusalOfTheWholeIndexRejectsNobody(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		index := b.loading(target)
		b.Must(http.MethodPost, "/"+b.index()+"/_close", "")
		got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(3)...))
		wantRefusal(t, err, "index_closed_exception", "run the same command again")
		if got.Fates.Sum() != 0 || len(got.Rejected) != 0 {
			t.Errorf("fates %v, rejected %v", got.Fates, got.Rejected)
		}

		// An index that cannot be created by the first write.
		b.Must(http.MethodDelete, "/"+b.index(), "")
		b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, `{"index_patterns":["`+b.backend.Pattern+`"],"template":{"settings":{"number_of_shards":1000}}}`)
		got, err = target.Write(t.Context(), Index{Name: b.index()}, batchOf(t, CreateOnly, numbered(3)...))
		wantRefusal(t, err, "maximum", "max_shards_per_node")
		if got.Fates.Sum() != 0 || len(got.Rejected) != 0 {
			t.Errorf("fates %v, rejected %v", got.Fates, got.Rejected)
		}
	})
}

func TestMappingErrorHoldsNoPayload(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		for i, properties := range []string{
			`"data":{"type":"long"},` + dateField,
			`"data":{"type":"date"},` + dateField,
			`"data":{"type":"geo_point"},` + dateField,
			`"data":{"properties":{}},` + dateField,
			`"data":{"type":"keyword"},` + dateField,
			`"data":{"type":"keyword","index":false},` + dateField,
		} {
			index := Index{Name: b.backend.IndexOf(today + node.Day(i))}
			b.Must(http.MethodPut, "/"+index.Name, `{`+mapped(properties)+`}`)
			for _, size := range []int{0, 40_000} {
				data := payload(t, "marker", size)
				batch := NewBatch(1 << 10)
				appendTo(t, batch, node.Node{ID: fmt.Append(nil, size), Data: data, Micros: noon})
				got, err := target.Write(t.Context(), index, batch)
				if err != nil {
					t.Fatal(err)
				}
				if size > 0 && got.Fates[node.Rejected] != 1 {
					t.Errorf("%s: %v", properties, got.Fates)
				}
				wantNoPayload(t, got.Rejected, data)
			}
		}
	})
}

// wantNoPayload looks for any 8 bytes of a payload in what is told of it. The
// first bytes are those of every zlib stream.
func wantNoPayload(t *testing.T, rejected []Rejection, data []byte) {
	t.Helper()
	for _, r := range rejected {
		if r.Detail == "" {
			t.Errorf("%q is rejected without a word", r.ID)
		}
		for piece := range slices.Chunk(data, 8) {
			if strings.Contains(r.Detail, string(piece)) {
				t.Fatalf("%q of the payload is in %q", piece, r.Detail)
			}
		}
	}
}
