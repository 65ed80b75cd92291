package target

import (
	"errors"
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
		if got := withoutPayload(reason); got != want {
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
		"index":        {404, `{"error":{"root_cause":[],"type":"index_not_found_exception","reason":"no such index [x]"},"status":404}`, typeIndexMissing, "op: status 404: index_not_found_exception: no such index [x]", true},
		"alias":        {404, `{"error":"alias [x] missing","status":404}`, typeAliasesMissing, "op: status 404: aliases_not_found_exception: alias [x] missing", true},
		"aliases":      {404, `{"error":"aliases [x] missing","status":404}`, typeAliasesMissing, "op: status 404", true},
		"document":     {404, `{"_index":"x","_id":"y","found":false}`, typeDocumentMissing, "op: status 404", false},
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
		if e.Type != test.kind || !strings.HasPrefix(e.Error(), test.text) || IsGone(withHint(e)) != test.gone || strings.Contains(e.Error(), "marker") {
			t.Errorf("%s: %v, type %q, gone %v", name, e, e.Type, IsGone(e))
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const words = `{"error":{"type":"x","reason":"y"},"status":0}`
	for body, actions := range map[string]map[int]action{
		words:    {200: read, 413: split, 429: again, 502: again, 503: again, 504: again, 400: stop, 401: stop, 403: stop, 404: stop, 408: stop, 500: stop},
		"<html>": {200: again, 413: split, 429: again, 502: again, 503: again, 504: again, 400: stop, 401: stop, 403: stop, 404: again, 408: again, 500: again, 301: stop},
	} {
		for status, want := range actions {
			got := judge("op", answer{status, []byte(body)}, nil)
			if got.action != want || (want == read) != (got.err == nil) {
				t.Errorf("status %d, %s: %+v", status, body, got)
			}
			if uncertain := want == again && status != http.StatusTooManyRequests; want == again && got.uncertain != uncertain {
				t.Errorf("status %d, %s: uncertain %v", status, body, got.uncertain)
			}
		}
	}
	if got := judge("op", answer{status: 200}, errors.New("cut")); got.action != again || !got.uncertain {
		t.Errorf("half an answer: %+v", got)
	}
}
