from tests.web.conftest import Api, Service


def test_a_living_process_says_so(probes: Api, service: Service) -> None:
    service.ail(ready=False)
    assert probes("/healthz").status == 200
    assert probes("/healthz", "HEAD").status == 200


def test_a_sidecar_is_ready_when_it_says_so_problems_or_not(probes: Api, service: Service) -> None:
    assert (probes("/readyz").status, probes("/readyz").json()) == (200, {"ready": True, "problems": []})
    service.ail()
    assert probes("/readyz").status == 200
    service.ail(ready=False)
    answer = probes("/readyz")
    assert answer.status == 503
    assert answer.json()["problems"] == ["preload_missing"]
    assert probes("/readyz", "HEAD").status == 503


def test_metrics_are_given_in_the_format_that_is_asked_for(probes: Api) -> None:
    answer = probes("/metrics", accept="application/openmetrics-text")
    assert answer.body == b"# accept application/openmetrics-text\nup 1\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_neither_listener_serves_the_paths_of_the_other(api: Api, probes: Api) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        assert (api(path).status, probes(path).status) == (404, 200)
    for path in ("/v1/status", "/v1/incidents", "/openapi.json"):
        assert (api(path).status, probes(path).status) == (200, 404)
