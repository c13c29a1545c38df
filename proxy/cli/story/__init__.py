"""The parts of the demo: the article, the service, its visitors, the result page. `proxy.cli.demo` runs them."""
