module github.com/sigbox/sigbox/bench

go 1.26.0
