package testservers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Corner is one test's own corner of a shared OpenSearch: the names that begin
// with Name are no other test's, and what has them goes when the test ends.
type Corner struct {
	T    *testing.T
	URL  string
	Name string
}

// EachCorner runs a test on every supported OpenSearch, each time in a corner of its own.
func EachCorner(t *testing.T, test func(t *testing.T, c Corner)) {
	t.Parallel()
	for _, version := range OpenSearchVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, NewCorner(t, OpenSearch(t, version)))
		})
	}
}

// OldestCorner is a corner of the oldest supported OpenSearch.
func OldestCorner(t *testing.T) Corner {
	t.Parallel()
	return NewCorner(t, OpenSearch(t, OpenSearchVersions()[0]))
}

// NewCorner is a corner of the server at a URL.
func NewCorner(t *testing.T, server string) Corner {
	t.Helper()
	c := Corner{t, server, "nm-" + strings.ToLower(rand.Text()[:10])}
	t.Cleanup(func() {
		c.Call(http.MethodDelete, "/"+c.Name+"-*", "")
		c.Call(http.MethodDelete, "/_index_template/"+c.Name+"*", "")
	})
	return c
}

// Call sends a plain request and returns the answer's status and body. Its
// context is not the test's own, which has ended when a cleanup runs.
func (c Corner) Call(method, path, body string) (status int, answer map[string]any) {
	c.T.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(c.T.Context()), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.T.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		c.T.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		c.T.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, answer
}

// Must is Call for what has to succeed.
func (c Corner) Must(method, path, body string) map[string]any {
	c.T.Helper()
	status, answer := c.Call(method, path, body)
	if status >= http.StatusMultipleChoices {
		c.T.Fatalf("%s %s: status %d: %v", method, path, status, answer)
	}
	return answer
}
