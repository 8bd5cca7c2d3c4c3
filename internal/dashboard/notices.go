package dashboard

import (
	"crypto/rand"
	"net/url"
	"sync"
)

// maxNotices bounds those that nobody has come to read.
const maxNotices = 32

// notice is what came of something that was asked for. The page that is shown next has it
// on top.
type notice struct {
	// Bad is one that something did not work.
	Bad  bool
	Text string
}

// notices wait for the page that shows them. The page's address names its own, so that none
// appears in another tab.
type notices struct {
	mu    sync.Mutex
	all   map[string]*notice
	order []string
}

// add keeps a notice, and returns the address of a page with it.
func (n *notices) add(to string, said *notice) string {
	id := rand.Text()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = map[string]*notice{}
	}
	n.all[id] = said
	if n.order = append(n.order, id); len(n.order) > maxNotices {
		delete(n.all, n.order[0])
		n.order = n.order[1:]
	}
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	q := u.Query()
	q.Set("notice", id)
	u.RawQuery = q.Encode()
	return u.String()
}

// take returns a notice once: a page that is loaded again does not repeat it.
func (n *notices) take(id string) *notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.all[id]
	delete(n.all, id)
	return said
}
