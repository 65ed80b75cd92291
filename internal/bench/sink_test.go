package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

const twoDocuments = `{"index":{"_id":"a\/b+ü=","version_type":"external","version":1740787200000001}}
{"data":"eJw=","timestamp":"2025-03-01T00:00:00.000001+00:00"}
{"create":{"_id":"plain"}}
{"data":"eJw=","timestamp":"2025-03-01T00:00:00+00:00"}
`

// TestSinkAnswersAsACluster sends a bulk to a cluster and to the sink: both answers are
// the same, but for what only a cluster that stores something can know.
func TestSinkAnswersAsACluster(t *testing.T) {
	corner := testservers.NewCorner(t, testservers.OpenSearch(t, testbed.DefaultOpenSearch))
	index := corner.Name + "-day"
	loaded := target.LoadingName(index)
	for _, filter := range []string{"", "?filter_path=errors", "?filter_path=errors," + cluster.ItemFields, "?filter_path=items.*._id,items.*._version"} {
		corner.Must(http.MethodPut, "/"+index, `{"settings":{"number_of_replicas":0},"aliases":{"`+loaded+`":{}}}`)
		path := "/" + loaded + "/_bulk" + filter
		want := corner.Must(http.MethodPost, path, twoDocuments)
		corner.Must(http.MethodDelete, "/"+index, "")

		s := &sink{}
		s.buffers.New = func() any { return new(bytes.Buffer) }
		s.expect(2)
		w := httptest.NewRecorder()
		if !s.take(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(twoDocuments))) || w.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, w.Code)
		}
		got := make(map[string]any)
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for _, answer := range []map[string]any{want, got} {
			forgetWhatIsStored(answer)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the sink answers\n%v, a cluster\n%v", path, got, want)
		}
	}
}

func forgetWhatIsStored(answer map[string]any) {
	if _, ok := answer["took"]; ok {
		answer["took"] = "some time"
	}
	items, _ := answer["items"].([]any)
	for _, item := range items {
		for _, words := range item.(map[string]any) {
			delete(words.(map[string]any), "_seq_no")
			delete(words.(map[string]any), "_primary_term")
		}
	}
}

// TestSinkEndsWithTheLastDocument counts a document once, however often it is sent, and
// takes nothing but bulks.
func TestSinkEndsWithTheLastDocument(t *testing.T) {
	s := &sink{}
	s.buffers.New = func() any { return new(bytes.Buffer) }
	s.expect(3)
	send := func(path string, body io.Reader) (taken bool, status int) {
		w := httptest.NewRecorder()
		return s.take(w, httptest.NewRequest(http.MethodPost, path, body)), w.Code
	}
	hasEnded := func() bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	}
	for range 2 {
		if taken, status := send("/i/_bulk", strings.NewReader(twoDocuments)); !taken || status != http.StatusOK || hasEnded() {
			t.Fatalf("two of three: taken %t, status %d, ended %t", taken, status, hasEnded())
		}
	}
	for _, path := range []string{"/i/_search", "/i/_refresh", "/i/_count"} {
		if taken, _ := send(path, strings.NewReader("{}")); taken {
			t.Errorf("%s does not reach the cluster", path)
		}
	}
	for _, wrong := range []string{
		`{"delete":{"_id":"third"}}` + "\n",
		`{"index":{"_id":"third"}}` + "\n",
		`{"index":{"_id":"third"}}` + "\n{}",
		"{}\n{}\n",
		"[\n{}\n",
	} {
		if taken, status := send("/i/_bulk", strings.NewReader(wrong)); !taken || status != http.StatusBadRequest || hasEnded() {
			t.Errorf("%q: taken %t, status %d, ended %t", wrong, taken, status, hasEnded())
		}
	}
	if _, status := send("/i/_bulk", strings.NewReader(`{"index":{"_id":"third"}}`+"\n{}\n")); status != http.StatusOK || !hasEnded() {
		t.Errorf("the last one: status %d, ended %t", status, hasEnded())
	}
}
