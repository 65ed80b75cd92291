package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// Mistake is something in the configuration of a target that has to change. Only
// internal/cli knows which flag that is.
type Mistake string

// The mistakes in how a cluster is reached.
const (
	NoURL         Mistake = "no URL"
	UnreadableURL Mistake = "unreadable URL"
	NoAnswer      Mistake = "no answer"              // from any of the URLs
	TakesPath     Mistake = "path taken for index"   // OpenSearch takes the URL's path for an index
	SpeaksPlain   Mistake = "speaks no TLS"          // to an https:// URL
	WantsTLS      Mistake = "wants TLS"              // of an http:// URL
	Untrusted     Mistake = "untrusted certificate"  // of the server
	OtherPrint    Mistake = "another fingerprint"    // than Config.Fingerprint
	NoCA          Mistake = "no PEM certificate"     // in Config.CA
	NoKeyPair     Mistake = "no certificate and key" // in Config.Certificate and Config.Key
	WantsOurs     Mistake = "wants a certificate"    // of this client, or another one
	NotOpenSearch Mistake = "not OpenSearch"
	OtherCluster  Mistake = "another cluster"
	Credentials   Mistake = "credentials" // are not taken
	Signature     Mistake = "signature"   // is not taken
	NotItself     Mistake = "not OpenSearch's words"
)

// MistakeError is an error that goes once a mistake is mended.
type MistakeError struct {
	Mistake Mistake
	error
}

// Unwrap is for errors.Is and errors.As.
func (e *MistakeError) Unwrap() error { return e.error }

// Mistaken says which mistake an error comes from. A nil err stays nil.
func Mistaken(m Mistake, err error) error {
	if err == nil {
		return nil
	}
	return &MistakeError{m, err}
}

// mendable reports whether an error tells already what to do about it.
func mendable(err error) bool {
	_, mistaken := errors.AsType[*MistakeError](err)
	return mistaken || hint.Of(err) != ""
}

// Error is a request that the cluster refused.
type Error struct {
	Op     string // what was being done, to what
	Status int    // HTTP status
	Type   string // OpenSearch's name of the error, may be empty
	Reason string // OpenSearch's explanation, without any payload

	foreign bool // it is not OpenSearch that spoke
	signed  bool // to a request with a signature
}

// Error writes the refusal as one line.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: status %d", e.Op, e.Status)
	if e.foreign {
		text += " without OpenSearch's words: a proxy in between, or a wrong path in the URL?"
	}
	for _, more := range []string{e.Type, e.Reason} {
		if more != "" {
			text += ": " + more
		}
	}
	return text
}

// ErrBlocked means that the cluster refuses writes until somebody acts.
var ErrBlocked = errors.New("the cluster blocks writes")

// What to do about an index that is closed, and about ingest pipelines.
const (
	OpenIt      = "open the index (POST /NAME/_open), or move it away from the alias; then run the same command again"
	NoPipelines = "set index.default_pipeline and index.final_pipeline to _none in the index's settings and in the template; what a pipeline does to documents cannot be undone by a reader"
)

// Privileges are what a migration does on the target, as the security plugin calls it.
const Privileges = "cluster_monitor, cluster_composite_ops and cluster_manage_index_templates on the cluster, " +
	"and crud and manage on the daily indices, the alias and nodestore-migrate-*"

// explained adds the remedy that follows from the refusal alone.
func (e *Error) explained() error {
	switch {
	case e.Status == http.StatusUnauthorized:
		return Mistaken(Credentials, e)
	case e.Type == "cluster_block_exception" && e.Status != http.StatusServiceUnavailable: // else no cluster manager is elected
		return hint.Add(fmt.Errorf("%w: %w", ErrBlocked, e),
			"make room on the data nodes (see _cat/allocation) or remove the block; then run the same command again to resume")
	case e.Status == http.StatusForbidden && e.foreign && e.signed:
		return Mistaken(Signature, e)
	case e.Status == http.StatusForbidden:
		return hint.Add(e, "the user needs "+Privileges)
	case e.Type == "index_closed_exception":
		return hint.Add(e, OpenIt)
	case strings.Contains(e.Reason, wordsPipeline):
		return hint.Add(e, NoPipelines)
	case strings.Contains(e.Reason, " shards open"):
		return hint.Add(e, "raise cluster.max_shards_per_node, remove indices that are not needed, or give the template fewer shards")
	case e.foreign:
		return Mistaken(NotItself, e)
	}
	return e
}

// refusal makes an Error of an answer's status and body.
func refusal(op string, status int, body []byte) *Error {
	kind, reason, ok := words(status, body)
	return &Error{Op: op, Status: status, Type: kind, Reason: WithoutPayload(reason), foreign: !ok && !common(status)}
}

// common reports whether a status says enough without OpenSearch's words: the
// security plugin asks for a password in plain text, and a proxy whose servers
// are away has no others.
func common(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// Types of refusals that mean more than a failure.
const (
	IndexMissing   = "index_not_found_exception"
	AliasesMissing = "aliases_not_found_exception"
	// DocumentMissing is our name for the answer to a GET that OpenSearch has no type for.
	DocumentMissing = "document_missing_exception"
	AlreadyExists   = "resource_already_exists_exception"

	// wordsPipeline are those of an ingest pipeline that is not there, for which OpenSearch has no type.
	wordsPipeline = "pipeline with id"
)

// words finds in the body of a refusal what OpenSearch says, in any of its
// forms. It is not OK if a proxy could have said it as well.
func words(status int, body []byte) (kind, reason string, ok bool) {
	var answer struct {
		Error       json.RawMessage
		Status      int
		Found       *bool
		ID          *string `json:"_id"`
		ClusterName string  `json:"cluster_name"`
	}
	var cause struct {
		Type, Reason string
		Roots        []struct{ Reason string } `json:"root_cause"`
	}
	var text string
	switch {
	case json.Unmarshal(body, &answer) != nil:
		return "", "", false
	case json.Unmarshal(answer.Error, &cause) == nil && cause.Type != "":
		if len(cause.Roots) > 0 && cause.Roots[0].Reason != cause.Reason { // such as why all shards failed
			cause.Reason += ": " + cause.Roots[0].Reason
		}
		return cause.Type, cause.Reason, true
	case json.Unmarshal(answer.Error, &text) == nil && missingAlias.MatchString(text):
		return AliasesMissing, text, true
	case text != "" && (answer.Status == status || strings.HasPrefix(text, "no handler found for uri")):
		return "", text, true
	case answer.Found != nil && !*answer.Found && answer.ID != nil:
		return DocumentMissing, "", true
	}
	return "", "", answer.ClusterName != "" // a health that was waited for in vain
}

var missingAlias = regexp.MustCompile(`^alias(es)? \[.*\] missing$`)

// withoutRequest removes what the library puts before a transport's error, the
// method and the address in quotes: the operation says it.
func withoutRequest(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), `"`) {
		return inner
	}
	return err
}

// StatusOf returns the HTTP status of a refusal, or 0.
func StatusOf(err error) int { return refusedBy(err).Status }

// TypeOf returns OpenSearch's name of a refusal, or "".
func TypeOf(err error) string { return refusedBy(err).Type }

func refusedBy(err error) *Error {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused
	}
	return &Error{}
}

// IsMissing reports whether OpenSearch itself says that an index or alias does
// not exist. Any other 404 is not an answer to that.
func IsMissing(err error) bool {
	kind := TypeOf(err)
	return kind == IndexMissing || kind == AliasesMissing
}

// IsForbidden reports whether an error says that the user may not do that.
// Managed clusters answer so with a 401, to who may do other things.
func IsForbidden(err error) bool {
	status := StatusOf(err)
	return status == http.StatusForbidden || status == http.StatusUnauthorized
}

// NotTold reports whether an error says that the cluster does not let one ask
// that: a privilege, or a managed cluster that hides it.
func NotTold(err error) bool {
	status := StatusOf(err)
	return status/100 == 4 && status != http.StatusTooManyRequests
}

// maxReason bounds what is kept of a server's explanation, in bytes.
const maxReason = 400

var (
	// OpenSearch quotes the value that it could not parse, and Lucene the
	// first bytes of a term that is too long, as a list of numbers.
	quotedValue = regexp.MustCompile(`(?s)(Preview of field's value:|The prefix of the first immense term is:).*`)
	longRun     = regexp.MustCompile(`[A-Za-z0-9+/=]{48,}`)
)

// WithoutPayload removes from a server's explanation whatever could be part of
// a node's payload (promise 10).
func WithoutPayload(reason string) string {
	reason = quotedValue.ReplaceAllString(reason, "(value not shown)")
	reason = longRun.ReplaceAllString(reason, "(value not shown)")
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return strings.TrimSpace(reason)
}
