import random, pytest, time
from tests.abuse.test_pipelining import _REQUESTS, _STATUSES, CLOSE
from tests.support.raw_client import request
from tests.abuse.conftest import *
def test_hammer(house):
    rng=random.Random(time.time())
    end=time.time()+100; n=0
    while time.time()<end:
        kinds=[rng.choice(list(_REQUESTS)) for _ in range(rng.randint(1,5))]
        raw=b"".join(_REQUESTS[k](house) for k in kinds)+request("/healthz",None,CLOSE)
        cuts=sorted(rng.randint(0,len(raw)) for _ in range(rng.randint(0,6)))
        pieces=[raw[a:b] for a,b in zip([0,*cuts],[*cuts,len(raw)])]
        with house.connect() as c:
            c.send(*pieces,pause=rng.choice([0,0.001,0.0003]))
            ans=c.read(seconds=5)
            st=[a.status for a in ans]
            if not c.closed or st!=[_STATUSES[k] for k in kinds]+[200]:
                print("FAIL",kinds,cuts,len(raw),st,c.closed,[a.complete for a in ans]); assert 0
        n+=1
    print("n",n)
