package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// copyStream makes a binary COPY; a nil field is a null.
func copyStream(rows ...[][]byte) []byte {
	stream := append([]byte(copySignature), 0, 0, 0, 0, 0, 0, 0, 0)
	for _, row := range rows {
		stream = append(stream, copyRow(row)...)
	}
	return binary.BigEndian.AppendUint16(stream, 0xffff)
}

func copyRow(fields [][]byte) []byte {
	row := binary.BigEndian.AppendUint16(nil, uint16(len(fields)))
	for _, field := range fields {
		length := uint32(len(field))
		if field == nil {
			length = 0xffffffff
		}
		row = append(binary.BigEndian.AppendUint32(row, length), field...)
	}
	return row
}

func threeRows() [][][]byte {
	return [][][]byte{
		{[]byte("one"), []byte("data"), []byte("12345678")},
		{[]byte(""), nil, []byte("x")},
		{[]byte("three"), bytes.Repeat([]byte("y"), 300), nil},
	}
}

// parsePieces parses a stream that arrives cut at the given offsets and renders
// each row; "-" is a null.
func parsePieces(stream []byte, cuts ...int) (rows []string, err error) {
	parser := &copyParser{row: func(fields [][]byte) error {
		var text []string
		for _, field := range fields {
			if field == nil {
				field = []byte("-")
			}
			text = append(text, string(field))
		}
		rows = append(rows, strings.Join(text, "|"))
		return nil
	}}
	start := 0
	for _, cut := range append(cuts, len(stream)) {
		// A copy of its own that is overwritten afterwards, as pgx does.
		piece := slices.Clone(stream[start:cut])
		if _, err := parser.Write(piece); err != nil {
			return rows, err
		}
		clear(piece)
		start = cut
	}
	return rows, parser.finish()
}

func TestCopyCutAtEveryTwoBytes(t *testing.T) {
	t.Parallel()
	stream := copyStream(threeRows()...)
	want := []string{"one|data|12345678", "|-|x", "three|" + strings.Repeat("y", 300) + "|-"}
	for first := range len(stream) {
		for second := first; second < len(stream); second++ {
			got, err := parsePieces(stream, first, second)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("cut at %d and %d: %q, %v", first, second, got, err)
			}
		}
	}
}

func TestCopyTruncatedAnywhere(t *testing.T) {
	t.Parallel()
	stream := copyStream(threeRows()...)
	for n := range len(stream) {
		if _, err := parsePieces(stream[:n]); err == nil || !strings.Contains(err.Error(), "without its trailer") {
			t.Fatalf("%d of %d bytes: %v", n, len(stream), err)
		}
	}
}

func TestCopyRejects(t *testing.T) {
	t.Parallel()
	header := copyStream()[:copyHeaderBytes]
	with := func(tail ...byte) []byte { return append(slices.Clone(header), tail...) }
	tests := []struct {
		name   string
		stream []byte
		want   string
	}{
		{"another format", []byte("id\tdata\n"), `starts with "id\tdata\n"`},
		{"critical flags", append([]byte(copySignature), 0, 1, 0, 0, 0, 0, 0, 0), "unknown critical flags 0x10000"},
		{"long extension", append([]byte(copySignature), 0, 0, 0, 0, 0x7f, 0, 0, 0), "header extension of 2130706432 bytes"},
		{"too few fields", with(0, 2), "row 1 of binary COPY has 2 fields, want 3"},
		{"negative fields", with(0xff, 0xfe), "has -2 fields"},
		{"negative length", with(0, 3, 0xff, 0xff, 0xff, 0xfe), "field 1 of row 1 of binary COPY has length -2"},
		{"row over the limit", with(0, 3, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff), "field 2 of row 1 of binary COPY has length 2147483647"},
		{"after the trailer", append(copyStream(), 0), "continues after its trailer with 1 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parsePieces(test.stream); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestCopyHeaderExtensionIsSkipped(t *testing.T) {
	t.Parallel()
	stream := append([]byte(copySignature), 0, 0, 0, 0, 0, 0, 0, 3, 'e', 'x', 't')
	stream = append(stream, copyStream(threeRows()...)[copyHeaderBytes:]...)
	if got, err := parsePieces(stream); err != nil || len(got) != 3 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCopyOfWholeRowsNeitherCopiesNorAllocates(t *testing.T) {
	stream := copyStream(threeRows()[:1]...)
	header, row := stream[:copyHeaderBytes], stream[copyHeaderBytes:len(stream)-2]
	inPlace := false
	parser := &copyParser{row: func(fields [][]byte) error {
		inPlace = &fields[0][0] == &row[6]
		return nil
	}}
	if _, err := parser.Write(header); err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := parser.Write(row); err != nil || !inPlace {
			t.Fatalf("in place %v, %v", inPlace, err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for each row", allocations)
	}
}

func TestCopyStopsAtTheVisitorsError(t *testing.T) {
	t.Parallel()
	stop, calls := errors.New("stop"), 0
	parser := &copyParser{row: func([][]byte) error { calls++; return stop }}
	if _, err := parser.Write(copyStream(threeRows()...)); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// FuzzCopy feeds any bytes, cut anywhere: the parser does not panic, and cutting
// changes neither the rows nor whether there is an error.
func FuzzCopy(f *testing.F) {
	f.Add(copyStream(threeRows()...), uint16(20))
	f.Add(copyStream(), uint16(3))
	f.Add([]byte(copySignature), uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		whole, wholeErr := parsePieces(stream)
		cutRows, cutErr := parsePieces(stream, min(int(cut), len(stream)))
		if !slices.Equal(whole, cutRows) || (wholeErr == nil) != (cutErr == nil) {
			t.Errorf("whole %q, %v; cut %q, %v", whole, wholeErr, cutRows, cutErr)
		}
	})
}
