package local

import (
	"sync"

	"postrider/lib/config"
)

// fuzzConfig is the configuration of the fuzz targets.
var fuzzConfig = sync.OnceValue(func() *config.Config {
	c, err := config.FromSnapshot(config.Snapshot{Dir: "/x", Settings: []config.Setting{
		{Name: "myhostname", Value: "mail.example.com"}, {Name: "myorigin", Value: "example.com"},
		{Name: "mydestination", Value: "example.com"}, {Name: "recipient_delimiter", Value: "+"},
	}})
	if err != nil {
		panic(err)
	}
	return c
})
