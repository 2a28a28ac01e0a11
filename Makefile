# make            every program into bin/
# make test       format, vet, staticcheck, all tests
# make demo       the main job on a private instance below build/demo
# make bench      the measurements of bench/RESULTS.md, ten minutes (bench-all: everything; RUN=TestKept20: a part, printed)
# make stages     each stage of a message's way by itself, with allocations
# make sim        the scheduler and a model of Postfix's under the same load, into bench/SIM.md
# make figures    a backlog of a million messages, over five simulated days
# make fault      each file call of the spool and the journal fails in turn, and each call of the programs (root)
# make kill       10,000 kills at random moments, and one at each call of each program (root)
# make hostile    what local users can do to the mail, with the times (root)
# make scale      a million messages, ten thousand black holes: bench/SCALE.md (root)
# make block      10,000 power cuts on each of ext4, xfs and btrfs: doc/reliability.md (root)
# make soak       two hours of mixed traffic with faults, a million messages (soak-short: ten minutes)
# make recovery   kills with 100,000 messages in the queue, 1,000 reloads, new programs under load
# make accounts   the users and groups that an installed system needs (root)
# make install    programs, manual, unit, default configuration: DESTDIR, PREFIX and CONFDIR are honoured
# make uninstall  all that but configuration, aliases, accounts and mail
# make deb        build/postrider.deb, a Debian package that replaces the mail system of a machine
# make man        the manual pages into build/man
# make debian     that package in a fresh Debian root: cron, mail, aliases, purge (root)

VERSION := $(shell sed -n 's/^const Version = "\(.*\)"/\1/p' lib/config/config.go)
PREFIX  ?= /usr
DESTDIR ?=
CONFDIR ?= /etc/postrider

sbindir    = $(DESTDIR)$(PREFIX)/sbin
libexecdir = $(DESTDIR)$(PREFIX)/libexec/postrider
confdir    = $(DESTDIR)$(CONFDIR)

DAEMONS  = smtpd cleanup qmgr smtp lmtp local bounce
COMMANDS = sendmail postdrop postqueue postsuper postcat postconf postmap postsched smtp-ledger
PROGRAMS = $(notdir $(wildcard cmd/*))

export CGO_ENABLED = 0
LDFLAGS = -s -w -X postrider/master.version=$(VERSION) -X postrider/lib/config.DefaultDir=$(CONFDIR) -X postrider/lib/config.Prefix=$(PREFIX)

.PHONY: all test bench bench-all stages sim figures fault kill hostile scale block soak soak-short recovery demo accounts man install uninstall deb debian clean

all:
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	@for p in postrider $(DAEMONS); do ln -sf master bin/$$p || exit 1; done
	@ln -sf sendmail bin/mailq
	@ln -sf sendmail bin/newaliases
	@ln -sf postmap bin/postalias

test: all
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "gofmt -w $$bad"; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	go test $(TESTFLAGS) ./...

demo: all
	@go run ./test/demo

# The figures of bench/RESULTS.md; smtp-source and smtp-sink come with Debian's postfix.
# As root it runs beside a Postfix of its own, on ext4, XFS and in memory.
bench: all
	RUN='$(RUN)' ./bench/run
bench-all: all
	RUN='$(RUN)' ./bench/run -all -rounds 5
stages:
	@./bench/stages

# The tables of bench/SIM.md, the same for the same seed. (sudo go run ./bench/sim/record makes the recordings anew.)
sim:
	@mkdir -p build
	@{ echo '# The scheduler beside Postfix'"'"'s'; echo; \
	echo 'Written by `make sim`; see the comment of `bench/sim/main.go` and [doc/scheduler.md](../doc/scheduler.md).'; echo; \
	echo '```'; go run ./bench/sim --recordings bench/sim/testdata && echo '```'; } >build/SIM.md && mv build/SIM.md bench/SIM.md

# The figures of doc/reliability.md: a million messages deferred for five simulated
# days, about a quarter of an hour, 1.5 GB in /var/tmp.
figures:
	POSTRIDER_FIGURES=1000000 go test -tags figures -timeout 2h -run TestFigures -v ./lib/spool

# Every fault of test/powercut TestEachFault, with six times the runs of the test for each seed: make fault SEEDS=20.
SEEDS ?= 4
fault:
	POSTRIDER_FAULTS=$(SEEDS) go test -count=1 -timeout 3h -run TestEachFault -v ./test/powercut
	POSTRIDER_CALLS_LIMIT=$(LIMIT) go test -count=1 -timeout 24h -run TestEachCallFails -v ./test/calls

# The kills of doc/reliability.md, some hours: make kill KILLS=10000 SEED=n. LIMIT are the seconds that
# the calls of the programs have here and in make fault; there are 16,000 ways to fail and 4,000 to be killed.
KILLS ?= 10000
LIMIT ?= 36000
kill:
	POSTRIDER_KILL_CYCLES=$(KILLS) $(if $(SEED),POSTRIDER_KILL_SEED=$(SEED)) go test -count=1 -timeout 24h -run TestRandomKills -v ./test/kill
	POSTRIDER_CALLS_LIMIT=$(LIMIT) go test -count=1 -timeout 24h -run TestKilledAtEachCall -v ./test/calls

# The comparison of doc/reliability.md, about six minutes: as root, on a machine with nothing else to do; ATTACKS=loops,deaf for some.
hostile:
	POSTRIDER_HOSTILE=$(or $(ATTACKS),1) go test -v -count=1 -timeout 30m -run 'TestAttacks|TestMaildrop' ./test/hostile

# The figures of bench/SCALE.md, about an hour and 3 GB in /tmp. Root, for a network
# namespace. One of them: make scale RUN=TestDeferred.
scale:
	go test -tags scale -count=1 -timeout 3h -run '$(or $(RUN),.)' -v ./test/scale

# The power cuts of doc/reliability.md, an hour or so; SEED=n chooses the states. mkfs.xfs and
# mkfs.btrfs come with Debian's xfsprogs and btrfs-progs.
block:
	POSTRIDER_BLOCK_STATES=10000 POSTRIDER_BLOCK_LIMIT=36000 POSTRIDER_BLOCK_SECONDS=10 POSTRIDER_BLOCK_STARTS=50 POSTRIDER_BLOCK_PULLS=50 \
	POSTRIDER_BLOCK_BTRFS=1 POSTRIDER_BLOCK_SEED=$(SEED) go test -v -count=1 -timeout 12h ./test/block

# Mixed traffic with faults: doc/reliability.md. SOAK=n seconds, minutes or hours of load, RATE=n messages a second.
SOAK ?= 2h
RATE ?= 145
soak:
	POSTRIDER_SOAK=$(SOAK) POSTRIDER_SOAK_RATE=$(RATE) go test -v -count=1 -timeout 12h -run TestSoak ./test/soak
soak-short: SOAK = 10m
soak-short: soak

# How it comes back and goes on: 100,000 messages in the queue, 1,000 reloads under load.
recovery:
	POSTRIDER_RELOADS=1000 POSTRIDER_QUEUED=100000 go test -v -count=1 -timeout 1h ./test/recovery

# The commands that master prints when an account is missing.
NOLOGIN = --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin
accounts:
	getent group postdrop >/dev/null || groupadd --system postdrop
	for u in postrider postrider-in postrider-out postrider-msg postrider-bounce; do \
		getent passwd $$u >/dev/null || useradd $(NOLOGIN) $$u || exit 1; \
	done

# The manual pages, from the tables of the code.
man:
	@rm -rf build/man && mkdir -p build/man
	@go run ./doc/manual build/man

# Under sudo there may be no go: then what was built before is installed.
HAVEGO := $(shell command -v go 2>/dev/null)
bindir    = $(DESTDIR)$(PREFIX)/bin
libdir    = $(DESTDIR)$(PREFIX)/lib
sharedir  = $(DESTDIR)$(PREFIX)/share
mandir    = $(sharedir)/man
etcdir    = $(DESTDIR)/etc
installed = $(filter $(COMMANDS),$(PROGRAMS))

# A configuration and aliases that are there are left alone.
install: $(if $(HAVEGO),all man)
	install -d $(sbindir) $(bindir) $(libexecdir) $(confdir) $(etcdir) $(libdir)/systemd/system $(libdir)/sysusers.d $(sharedir)/postrider
	install -m 755 bin/master $(sbindir)/postrider
	for p in master $(DAEMONS); do ln -sf ../../sbin/postrider $(libexecdir)/$$p || exit 1; done
	for p in $(installed); do install -m 755 bin/$$p $(sbindir)/$$p || exit 1; done
	install -m 755 bin/proxymap $(libexecdir)/proxymap
	ln -sf postmap $(sbindir)/postalias
	ln -sf ../sbin/sendmail $(bindir)/mailq
	ln -sf ../sbin/sendmail $(bindir)/newaliases
	ln -sf ../sbin/sendmail $(libdir)/sendmail
	install -m 644 conf/sched.cf.sample $(confdir)/sched.cf.sample
	for f in main.cf master.cf; do test -e $(confdir)/$$f || install -m 644 conf/$$f $(confdir)/$$f || exit 1; done
	for f in aliases $(notdir $(wildcard conf/*.sample)); do install -m 644 conf/$$f $(sharedir)/postrider/$$f || exit 1; done
	test -e $(etcdir)/aliases || install -m 644 conf/aliases $(etcdir)/aliases
	sed 's,/usr/sbin/,$(PREFIX)/sbin/,' conf/postrider.service >$(libdir)/systemd/system/postrider.service
	install -m 644 conf/sysusers.conf $(libdir)/sysusers.d/postrider.conf
	for f in build/man/*.*; do d=$(mandir)/man$${f##*.}; install -d $$d && install -m 644 $$f $$d/ || exit 1; done
	if test -z '$(DESTDIR)' && getent group postdrop >/dev/null; then \
		$(sbindir)/postrider set-permissions && $(bindir)/newaliases; fi

# Mail, configuration, aliases and accounts stay.
uninstall:
	if test -z '$(DESTDIR)' && $(sbindir)/postrider status 2>/dev/null; then $(sbindir)/postrider stop; fi
	for l in $(bindir)/mailq $(bindir)/newaliases $(libdir)/sendmail; do \
		test "$$(readlink $$l)" != ../sbin/sendmail || rm -f $$l || exit 1; done
	rm -f $(sbindir)/postrider $(addprefix $(sbindir)/,$(COMMANDS) postalias)
	rm -f $(libdir)/systemd/system/postrider.service $(libdir)/sysusers.d/postrider.conf
	for f in build/man/*.*; do rm -f $(mandir)/man$${f##*.}/$${f##*/}; done
	rm -rf $(libexecdir) $(sharedir)/postrider

# build/postrider.deb: needs dpkg-deb, no root. gzip, since xz takes half a minute for a tenth less.
ARCH := $(shell dpkg --print-architecture 2>/dev/null)
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
deb:
	rm -rf build/deb && mkdir -p build/deb/DEBIAN
	umask 022 && $(MAKE) install DESTDIR=build/deb PREFIX=/usr CONFDIR=/etc/postrider
	rm build/deb/etc/aliases
	gzip -9n build/deb/usr/share/man/man*/*
	install -d build/deb/usr/share/doc/postrider
	install -m 644 README.md CHANGELOG.md build/deb/usr/share/doc/postrider/
	install -d build/deb/usr/share/doc/postrider/doc build/deb/usr/share/lintian/overrides
	install -m 644 $(filter-out doc/status.md,$(wildcard doc/*.md)) build/deb/usr/share/doc/postrider/doc/
	conf/debian/copyright >build/deb/usr/share/doc/postrider/copyright
	sed "s/@VERSION@/$(VERSION)/; s/@DATE@/$$(date -Rud @$(SOURCE_DATE_EPOCH))/" conf/debian/changelog | gzip -9n >build/deb/usr/share/doc/postrider/changelog.gz
	install -m 644 conf/debian/lintian-overrides build/deb/usr/share/lintian/overrides/postrider
	sed 's/@VERSION@/$(VERSION)/; s/@ARCH@/$(ARCH)/; '"s/@SIZE@/$$(du -sk build/deb | cut -f1)/" conf/debian/control >build/deb/DEBIAN/control
	install -m 644 conf/debian/conffiles build/deb/DEBIAN/conffiles
	for f in postinst prerm postrm; do \
		sed "s/@ALIASES@/$$(md5sum <conf/aliases | cut -d' ' -f1)/" conf/debian/$$f >build/deb/DEBIAN/$$f && chmod 755 build/deb/DEBIAN/$$f || exit 1; done
	dpkg-deb -Zgzip --root-owner-group --build build/deb build/postrider.deb

debian:
	POSTRIDER_DEBIAN=1 go test -count=1 -v ./test/debian

clean:
	rm -rf bin build
