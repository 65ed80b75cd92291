package node

// Origin tells which data nodes come from, the same on a standby and its
// primary. It holds no address and no credentials: these may change between runs.
type Origin struct {
	System   string `json:"system,omitempty"` // the PostgreSQL cluster's system identifier, "" where the role may not see it
	Database string `json:"database"`
	Table    string `json:"table"`            // schema.name
	Region   string `json:"region,omitempty"` // as the operator named it; "" if that is not known
}
