package cluster

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Class is what a refusal asks for.
type Class uint8

// The classes.
const (
	Stop   Class = iota // say it: nothing that is sent again would be taken
	Retry               // send the same once more, after a pause
	Split               // send it in two requests
	Reject              // this one document will never be taken
	Gone                // the index or alias is not there
)

// place is where an answer was met.
type place uint8

const (
	ofRequest place = 1 << iota // the whole answer
	ofItem                      // the word on one document of a bulk
	anywhere  = ofRequest | ofItem
)

// rule is a line of the table: what matches its type, its status and its place.
type rule struct {
	types    string // OpenSearch's names, separated by spaces; empty: any
	reason   string // part of the explanation, empty: any
	statuses []int  // nil: any
	where    place
	class    Class
}

// rules decide about every answer of OpenSearch's own, the first that matches.
// Types come before statuses, because OpenSearch has 429 for a full queue and
// for a full disk, 404 for a missing index and for a shard that moves, and 400
// for a bad document and for an index that could not be created.
var rules = []rule{
	{types: IndexMissing + " " + AliasesMissing, where: anywhere, class: Gone},
	// Without a cluster manager everything is blocked; other blocks are somebody's decision, or a full disk.
	{types: "cluster_block_exception", statuses: []int{http.StatusServiceUnavailable}, where: anywhere, class: Retry},
	{types: "cluster_block_exception index_closed_exception validation_exception security_exception", where: anywhere, class: Stop},
	// The cluster itself forbids new indices while disks are full, and allows them later.
	{types: "index_create_block_exception", where: anywhere, class: Retry},
	{types: "illegal_argument_exception", reason: wordsPipeline, where: anywhere, class: Stop},
	// Nodes that stop and shards that move have statuses such as 500 and 404.
	{
		types: "node_closed_exception node_disconnected_exception node_not_connected_exception connect_transport_exception " +
			"receive_timeout_transport_exception not_cluster_manager_exception not_master_exception already_closed_exception " +
			"illegal_index_shard_state_exception index_shard_closed_exception index_shard_not_started_exception " +
			"shard_not_found_exception no_shard_available_action_exception process_cluster_event_timeout_exception",
		where: anywhere, class: Retry,
	},
	// Some shards failed, each for a reason of its own, such as a breaker. What none can answer is a 400.
	{types: "search_phase_execution_exception", statuses: []int{http.StatusInternalServerError}, where: ofRequest, class: Retry},
	{statuses: []int{http.StatusRequestEntityTooLarge}, where: ofRequest, class: Split},
	{statuses: []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest}, where: ofItem, class: Reject},
	{statuses: []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, where: anywhere, class: Retry},
	{where: anywhere, class: Stop},
}

// foreignRules decide about the statuses of what stands between this machine
// and OpenSearch. Where it asks for a login, or leads elsewhere, it will again.
var foreignRules = []rule{
	{statuses: []int{http.StatusRequestEntityTooLarge}, where: ofRequest, class: Split},
	{statuses: []int{
		http.StatusOK, http.StatusNotFound, http.StatusRequestTimeout, http.StatusExpectationFailed, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, where: ofRequest, class: Retry},
	{where: ofRequest, class: Stop},
}

// signedRules are foreignRules for requests that are signed: Amazon's gate refuses
// credentials that expire at this moment, until this machine has the next ones.
var signedRules = append([]rule{{statuses: []int{http.StatusForbidden}, where: ofRequest, class: Retry}}, foreignRules...)

// class looks a refusal up in the tables.
func (e *Error) class(where place) Class {
	table := rules
	switch {
	case beyond(e.Reason):
		return Split
	case e.foreign && e.signed:
		table = signedRules
	case e.foreign:
		table = foreignRules
	}
	for _, r := range table {
		if r.where&where != 0 &&
			(r.types == "" || slices.Contains(strings.Fields(r.types), e.Type)) &&
			(r.statuses == nil || slices.Contains(r.statuses, e.Status)) &&
			strings.Contains(e.Reason, r.reason) {
			return r.class
		}
	}
	return Stop
}

// ofPressure are the words of indexing pressure, for which OpenSearch has no type.
var ofPressure = regexp.MustCompile(`operation_bytes=(\d+), max_\w+=(\d+)`)

// beyond reports whether a reason says that a request is larger than what the
// server lets be under way altogether, so that it will never be taken.
func beyond(reason string) bool {
	found := ofPressure.FindStringSubmatch(reason)
	if found == nil {
		return false
	}
	size, err := strconv.ParseInt(found[1], 10, 64)
	limit, err2 := strconv.ParseInt(found[2], 10, 64)
	return err == nil && err2 == nil && size > limit
}

// Pressed reports whether the server is short of memory, so that a smaller
// request may be taken.
func (e *Error) Pressed() bool {
	return e.Type == "circuit_breaking_exception" || strings.Contains(e.Reason, "operation_bytes=")
}
