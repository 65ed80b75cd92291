package migrate_test

import (
	"net/http"
	"testing"
)

// A run by itself, without the command line, looks at the target before it writes
// anything: no template, no index, no fate.
func TestChecksComeBeforeWriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(oneRow(60, 0))
	other := "/_index_template/" + w.prefix + "-other"
	w.must(http.MethodPut, other, `{"index_patterns": ["`+w.prefix+`-*"], "priority": 500, "template": {}}`, nil)
	if err := w.runHere(w.target); err == nil {
		t.Fatal("it writes where Sentry would not find it")
	}
	if status := w.request(http.MethodGet, "/_index_template/"+w.prefix, "", nil); status != http.StatusNotFound {
		t.Errorf("the template: status %d", status)
	}
	var indices []struct{ Index string }
	w.must(http.MethodGet, "/_cat/indices/"+w.prefix+"*?format=json", "", &indices)
	if state, _ := w.state(); len(indices) != 0 || len(state.Days) != 0 {
		t.Errorf("there are indices %v, and days %v", indices, state.Days)
	}

	w.must(http.MethodDelete, other, "", nil)
	if err := w.runHere(w.target); err != nil {
		t.Fatal(err)
	}
	w.wantReadable()
}
