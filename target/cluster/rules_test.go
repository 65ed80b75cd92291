package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestWithoutPayload(t *testing.T) {
	t.Parallel()
	const short = "eJwrSa0oAQAEWwHB"
	long := strings.Repeat(short, 4)
	for reason, want := range map[string]string{
		"": "",
		`DocValuesField "data" is too large, must be <= 32766`:                                                             `DocValuesField "data" is too large, must be <= 32766`,
		"[a]: version conflict, current version [1728043200000000] is higher or equal to the one provided [1728043200000]": "[a]: version conflict, current version [1728043200000000] is higher or equal to the one provided [1728043200000]",
		"no such index [sentry-2024-10-04] and [require_alias] request flag is [true]":                                     "no such index [sentry-2024-10-04] and [require_alias] request flag is [true]",
		"failed to parse field [data] of type [long] in document with id 'a'. Preview of field's value: '" + short + "'":   "failed to parse field [data] of type [long] in document with id 'a'. (value not shown)",
		"failed. Preview of field's value: '{\n" + short + "\n}' and more":                                                 "failed. (value not shown)",
		`immense term in field="data". The prefix of the first immense term is: '[101, 74]...', original message: x`:       `immense term in field="data". (value not shown)`,
		"For input string: \"" + long + "\"":                                                                               "For input string: \"(value not shown)\"",
		"a " + long + " b " + long + " c":                                                                                  "a (value not shown) b (value not shown) c",
		strings.Repeat("é ", maxReason):                                                                                    strings.Repeat("é ", maxReason/3) + "…",
	} {
		if got := WithoutPayload(reason); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", reason, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		body       string
		kind, text string
		gone       bool
	}{
		"index":        {404, `{"error":{"root_cause":[],"type":"index_not_found_exception","reason":"no such index [x]"},"status":404}`, IndexMissing, "op: status 404: index_not_found_exception: no such index [x]", true},
		"search":       {400, `{"error":{"root_cause":[{"type":"illegal_argument_exception","reason":"too large"}],"type":"search_phase_execution_exception","reason":"all shards failed"},"status":400}`, "search_phase_execution_exception", "op: status 400: search_phase_execution_exception: all shards failed: too large", false},
		"alias":        {404, `{"error":"alias [x] missing","status":404}`, AliasesMissing, "op: status 404: aliases_not_found_exception: alias [x] missing", true},
		"aliases":      {404, `{"error":"aliases [x] missing","status":404}`, AliasesMissing, "op: status 404", true},
		"document":     {404, `{"_index":"x","_id":"y","found":false}`, DocumentMissing, "op: status 404", false},
		"template":     {404, `{"error":{"type":"resource_not_found_exception","reason":"x"},"status":404}`, "resource_not_found_exception", "op: status 404", false},
		"no handler":   {400, `{"error":"no handler found for uri [/a/b/c] and method [GET]"}`, "", "op: status 400: no handler found", false},
		"health":       {408, `{"cluster_name":"x","status":"red","timed_out":true}`, "", "op: status 408", false},
		"unauthorized": {401, "Unauthorized", "", "op: status 401", false},
		"HTML":         {404, "<html>marker", "", "op: status 404 without OpenSearch's words", false},
		"empty":        {404, "", "", "op: status 404 without OpenSearch's words", false},
		"other JSON":   {404, `{"message":"marker"}`, "", "op: status 404 without OpenSearch's words", false},
		"other error":  {404, `{"error":"marker"}`, "", "op: status 404 without OpenSearch's words", false},
		"gateway":      {404, `{"error":{"code":404,"message":"marker"}}`, "", "op: status 404 without OpenSearch's words", false},
	} {
		e := refusal("op", test.status, []byte(test.body))
		if e.Type != test.kind || !strings.HasPrefix(e.Error(), test.text) || IsMissing(e.explained()) != test.gone || strings.Contains(e.Error(), "marker") {
			t.Errorf("%s: %v, type %q, gone %v", name, e, e.Type, IsMissing(e))
		}
	}
}

// TestClasses is the whole table of what the target's answers ask for.
func TestClasses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status       int
		body         string // of a request: a type of OpenSearch's, or a page
		reason       string
		onRequest    Class
		onItem       Class
		itemsCarryIt bool
	}{
		{413, "<html>", "", Split, 0, false},
		{417, "<html>", "", Retry, 0, false},
		{404, "<html>", "", Retry, 0, false},
		{408, "<html>", "", Retry, 0, false},
		{500, "<html>", "", Retry, 0, false},
		{502, "<html>", "", Retry, 0, false},
		{503, "", "", Retry, 0, false},
		{504, "<html>", "", Retry, 0, false},
		{429, "", "", Retry, 0, false},
		{200, "<html>", "", Retry, 0, false},
		{301, "<html>", "", Stop, 0, false},
		{400, "<html>", "", Stop, 0, false},
		{401, "Unauthorized", "", Stop, 0, false},
		{403, "<html>", "", Stop, 0, false},
		{407, "<html>", "", Stop, 0, false},
		{413, "content_too_long", "", Split, Reject, true},
		{429, "circuit_breaking_exception", "[parent] Data too large", Retry, Retry, true},
		{429, "rejected_execution_exception", "rejected execution of coordinating operation", Retry, Retry, true},
		{429, "cluster_block_exception", "disk usage exceeded flood-stage watermark", Stop, Stop, true},
		{403, "cluster_block_exception", "index read-only (api)", Stop, Stop, true},
		{503, "cluster_block_exception", "no master", Retry, Retry, true},
		{403, "index_create_block_exception", "cluster create-index blocked", Retry, Retry, true},
		{403, "security_exception", "no permissions", Stop, Stop, true},
		{401, "security_exception", "missing authentication", Stop, Stop, true},
		{404, IndexMissing, "no such index", Gone, Gone, true},
		{404, AliasesMissing, "aliases [x] missing", Gone, Gone, true},
		{404, "resource_not_found_exception", "index template", Stop, Stop, true},
		{404, "shard_not_found_exception", "no such shard", Retry, Retry, true},
		{500, "search_phase_execution_exception", "Partial shards failure", Retry, Stop, true},
		{400, "search_phase_execution_exception", "all shards failed", Stop, Reject, true},
		{404, "index_shard_closed_exception", "CurrentState[CLOSED]", Retry, Retry, true},
		{400, "illegal_argument_exception", "pipeline with id [x] does not exist", Stop, Stop, true},
		{400, "illegal_argument_exception", "mapper", Stop, Reject, true},
		{400, "mapper_parsing_exception", "failed to parse", Stop, Reject, true},
		{400, "index_closed_exception", "closed", Stop, Stop, true},
		{400, "validation_exception", "this cluster has 1000 shards open", Stop, Stop, true},
		{503, "unavailable_shards_exception", "primary shard is not active", Retry, Retry, true},
		{503, "master_not_discovered_exception", "", Retry, Retry, true},
		{503, "process_cluster_event_timeout_exception", "", Retry, Retry, true},
		{500, "node_closed_exception", "", Retry, Retry, true},
		{500, "null_pointer_exception", "", Stop, Stop, true},
	} {
		body := test.body
		if test.itemsCarryIt {
			body = fmt.Sprintf(`{"error":{"type":%q,"reason":%q},"status":%d}`, test.body, test.reason, test.status)
			answer := Item{Status: test.status}
			answer.Error.Type, answer.Error.Reason = test.body, test.reason
			if got := answer.Class(); got != test.onItem {
				t.Errorf("item of status %d, %s: class %d, want %d", test.status, test.body, got, test.onItem)
			}
		}
		got := reply("op", test.status, []byte(body), false)
		if got.Err == nil || got.Class != test.onRequest {
			t.Errorf("status %d, %s: %+v, want class %d", test.status, body, got, test.onRequest)
		}
		if uncertain := test.status != http.StatusTooManyRequests; got.Uncertain != uncertain {
			t.Errorf("status %d, %s: uncertain %v", test.status, body, got.Uncertain)
		}
	}
	if got := reply("op", 200, []byte(`{}`), false); got.Err != nil {
		t.Errorf("an answer: %+v", got)
	}
	if got := cutOff("op", errors.New("cut")); got.Class != Retry || !got.Uncertain {
		t.Errorf("half an answer: %+v", got)
	}
}

func TestPausesGrowToTheirCeiling(t *testing.T) {
	t.Parallel()
	var w Waits
	for n := range 40 {
		ceiling := min(firstPause<<min(n, 20), maxPause)
		before := w.Total
		if pause := w.next(); pause < ceiling/2 || pause > ceiling || w.Total != before+pause {
			t.Fatalf("pause %d is %s, waited %s; ceiling %s", n, pause, w.Total, ceiling)
		}
	}
}

// FuzzRefusal: an answer that is not a refusal of OpenSearch's still makes an
// error of one status.
func FuzzRefusal(f *testing.F) {
	for _, answer := range []string{
		`{"error":{"type":"rejected_execution_exception","reason":"full"},"status":429}`,
		`{"error":"text"}`, `<html>`, ``, `{"error":{"type":1}}`,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if err := refusal("bulk", 429, answer); StatusOf(err) != 429 {
			t.Errorf("status %d of %v", StatusOf(err), err)
		}
	})
}
