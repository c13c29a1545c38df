"""The demo's parts: the article, the service, its visitors, the page to look at. `proxy.cli.demo` tells the story."""
