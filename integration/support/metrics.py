"""Reading /metrics: the Prometheus text format, as a list of samples."""

import re
import urllib.error
import urllib.request


class Samples:
    """What one scrape said."""

    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            match = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", line)
            if match:
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match.group(2) or ""))
                self.samples.append((match.group(1), labels, float(match.group(3))))

    def names(self):
        return {name for name, _, _ in self.samples}

    def value(self, name, **labels):
        """The sum of the samples of that name that carry these labels; None if there are none."""
        found = [value for sample, has, value in self.samples
                 if sample == name and labels.items() <= has.items()]
        return sum(found) if found else None


def http_get(host, port, path, timeout=5):
    """(status, body) of one request; also for a status that is an error."""
    try:
        with urllib.request.urlopen("http://%s:%d%s" % (host, port, path), timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
