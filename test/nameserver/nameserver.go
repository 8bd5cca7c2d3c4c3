// Package nameserver is a nameserver of whoever owns a domain: it says what it
// likes, and not the same each time. It stands in for the network in tests.
package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is what a name leads to.
type Answer struct {
	// Alias, where it is not empty, is the name that the addresses are said to be
	// those of (CNAME), without the dot at its end.
	Alias     string
	Addresses []netip.Addr
}

// To is the answer of some addresses.
func To(addresses ...string) (a Answer) {
	for _, address := range addresses {
		a.Addresses = append(a.Addresses, netip.MustParseAddr(address))
	}
	return a
}

// Server answers queries by UDP.
type Server struct {
	conn    net.PacketConn
	serving sync.WaitGroup
	answers map[string][]Answer

	mu    sync.Mutex // guards what follows
	asked map[question]int
}

type question struct {
	name string
	kind dnsmessage.Type
}

// Start starts a nameserver on a free port of loopback. The answers are by name, in
// lower case and without the dot at its end: each query for a kind of addresses gets
// the next of them, and the last one from then on. There are no other names.
func Start(answers map[string][]Answer) (*Server, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a nameserver: %w", err)
	}
	s := &Server{conn: conn, answers: answers, asked: map[question]int{}}
	s.serving.Go(s.serve)
	return s, nil
}

// Addr is the host and port that it listens on.
func (s *Server) Addr() string { return s.conn.LocalAddr().String() }

// Close ends it.
func (s *Server) Close() error {
	err := s.conn.Close()
	s.serving.Wait()
	return err
}

// Resolver asks the nameserver at an address and no other.
func Resolver(addr string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", addr)
	}}
}

func (s *Server) serve() {
	query := make([]byte, 4096)
	for {
		size, from, err := s.conn.ReadFrom(query)
		if err != nil {
			return // closed
		}
		if reply, err := s.reply(query[:size]); err == nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

func (s *Server) reply(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	asked, err := p.Question()
	if err != nil {
		return nil, err
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{asked},
	}
	found, known := s.next(asked)
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	name := asked.Name
	add := func(body dnsmessage.ResourceBody) {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: body,
		})
	}
	if found.Alias != "" {
		alias, err := dnsmessage.NewName(found.Alias + ".")
		if err != nil {
			return nil, err
		}
		add(&dnsmessage.CNAMEResource{CNAME: alias})
		name = alias
	}
	for _, address := range found.Addresses {
		switch {
		case asked.Type == dnsmessage.TypeA && address.Is4():
			add(&dnsmessage.AResource{A: address.As4()})
		case asked.Type == dnsmessage.TypeAAAA && address.Is6():
			add(&dnsmessage.AAAAResource{AAAA: address.As16()})
		}
	}
	return reply.Pack()
}

func (s *Server) next(asked dnsmessage.Question) (Answer, bool) {
	q := question{strings.ToLower(strings.TrimSuffix(asked.Name.String(), ".")), asked.Type}
	all := s.answers[q.name]
	if len(all) == 0 {
		return Answer{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	turn := s.asked[q]
	s.asked[q]++
	return all[min(turn, len(all)-1)], true
}
