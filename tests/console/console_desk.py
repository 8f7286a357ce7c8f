"""A client that reaches the console as a browser does, without a socket."""

import asyncio

import httpx

MAIN = "channels: {adt: {listener: {mllp: {port: 0}}}}\n"  # the configuration of a console
PASSWORD = "a long sentence to type"
BASE = "http://console.test"


class Browser:
    """A client with cookies that sends what a browser sends along."""

    def __init__(self, app):
        self.http = httpx.Client(
            transport=InThread(app), base_url=BASE, headers={"origin": BASE, "accept": "text/html"}
        )

    def get(self, path, **more):
        return self.http.get(path, **more)

    def post(self, path, csrf=True, **fields):
        if csrf:
            fields["csrf"] = self.csrf
        return self.http.post(path, data=fields)

    @property
    def csrf(self):
        page = self.http.get("/account").text
        return page.partition('name="csrf" content="')[2].partition('"')[0]

    def sign_in(self, name, password=PASSWORD, **more):
        return self.post("/login", csrf=False, name=name, password=password, **more)


class InThread(httpx.BaseTransport):
    """The application called directly, its answers read wholly."""

    def __init__(self, app):
        self.transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request):
        async def call():
            answer = await self.transport.handle_async_request(request)
            content = b"".join([part async for part in answer.stream])
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(call())
