package qmgr

// quotas count the messages in the queue by the keys of the policy's quotas.
type quotas struct{}

func (m *manager) recount() {}
